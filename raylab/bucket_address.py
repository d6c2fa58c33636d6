"""What the URI of an object store says: the bucket, and how it is reached.

    s3://bucket/path        region, endpoint_override and scheme (as pyarrow writes them), anonymous=true
    gs://bucket/path        endpoint_override and scheme, anonymous=true
    az://container/path     (abfs, abfss too)
    memory://name/path      this process only; for tests

A store that does not answer is asked again for 15 minutes; `patience=60` makes that 60 seconds. Further options are
obstore's own (`request_payer=true`, `account_name=...`). Keys come from the environment (AWS_ACCESS_KEY_ID,
GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_KEY, ...), from the machine's role, or, where boto3 is installed,
from AWS profiles; they are refreshed when they expire.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

import pyarrow.fs as pafs
from obstore.store import S3Store

SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "abfs", "abfss": "abfss"}
"""Schemes of URIs, and what obstore calls them; `memory` beside."""
PATIENCE = 900.0
"""Seconds for which a store that does not answer is asked again, where the URI says nothing else."""
_ARROW_ATTEMPTS = 100
"""Of pyarrow's own client: waits double up to 20 s, so about as long."""
CLIENT = {"connect_timeout": "5s", "read_timeout": "60s", "timeout": "1h"}
"""A stalled connection is noticed by its reads: as a whole, a large model may take its time."""
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_NO_PROFILE = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")


class Address(NamedTuple):
    """A bucket.

    Attributes:
        scheme: of the URI.
        bucket: what stands before the path.
        options: what stands after the question mark.
    """

    scheme: str
    bucket: str
    options: str


def split_uri(uri: str) -> tuple[Address, str]:
    """The bucket of a URI, and the path in it.

    Raises:
        ValueError: the scheme is not known, or there is no bucket.
    """
    scheme, _, rest = uri.partition("://")
    if scheme not in SCHEMES and scheme != "memory":
        raise ValueError(f"scheme {scheme!r} is unknown; known are file, {', '.join(SCHEMES)} and memory")
    rest, _, options = rest.partition("?")
    bucket, _, path = rest.partition("/")
    if not bucket:
        raise ValueError("no bucket is named")
    return Address(scheme, bucket, options), path.strip("/")


def patience_of(address: Address) -> float:
    """Seconds for which a bucket that does not answer is asked again.

    Raises:
        ValueError: its option `patience` is no number of seconds.
    """
    text = dict(parse_qsl(address.options, keep_blank_values=True)).get("patience", str(PATIENCE))
    if not re.fullmatch(r"\d+(\.\d*)?", text):
        raise ValueError(f"patience={text} is no number of seconds")
    return float(text)


def client_arguments(address: Address) -> tuple[str, dict[str, Any]]:
    """URL and settings of a bucket, not in this process's memory, as obstore takes them.

    Raises:
        obstore.exceptions.BaseError: an option is not known.
        OSError: the region of a bucket on AWS is not given and cannot be asked for.
    """
    scheme = SCHEMES[address.scheme]
    config: dict[str, Any] = dict(parse_qsl(address.options, keep_blank_values=True))
    config.pop("patience", None)
    client: dict[str, Any] = dict(CLIENT)
    login, at, bucket = address.bucket.rpartition("@")
    if scheme in ("abfs", "abfss"):  # container@account
        login, at, bucket = "", "", address.bucket
    if config.pop("anonymous", "").lower() in ("true", "1") or login == "anonymous":
        config["skip_signature"] = True
    elif at:
        key, _, secret = login.partition(":")
        config |= {"access_key_id": unquote(key), "secret_access_key": unquote(secret)}
    endpoint, protocol = config.pop("endpoint_override", ""), config.pop("scheme", "https")
    if endpoint:
        endpoint = endpoint if "://" in endpoint else f"{protocol}://{endpoint}"
    elif scheme == "s3":
        endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "")
    if endpoint:
        config["base_url" if scheme == "gs" else "endpoint"] = endpoint
        client["allow_http"] = endpoint.startswith("http://")
    arguments: dict[str, Any] = {"config": config, "client_options": client}
    if scheme == "s3":
        _complete_s3(bucket, arguments)
    return f"{scheme}://{bucket}", arguments


def _complete_s3(bucket: str, arguments: dict[str, Any]) -> None:
    """Add what obstore does not look for by itself: AWS profiles, and the region of a bucket on AWS.

    Raises:
        obstore.exceptions.BaseError, OSError: as `client_arguments`.
    """
    config = arguments["config"]
    if not (config.keys() & {"access_key_id", "skip_signature"} or any(os.environ.get(name) for name in _NO_PROFILE)):
        files = (os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), "~/.aws/config")
        has_profile = os.environ.get("AWS_PROFILE") or any(os.path.exists(os.path.expanduser(file)) for file in files)
        if has_profile and find_spec("boto3"):
            from obstore.auth.boto3 import Boto3CredentialProvider

            arguments["credential_provider"] = provider = Boto3CredentialProvider()
            config |= {} if "region" in config else provider.config
    if not ("region" in config or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")):
        S3Store(bucket, **arguments)  # tells of options that it does not know before the network is asked
        config["region"] = "us-east-1" if "endpoint" in config else _region(bucket)


@cache
def _region(bucket: str) -> str:
    """The region of a bucket on AWS, which is asked for.

    Raises:
        OSError: there is no answer, or no such bucket.
    """
    return str(pafs.resolve_s3_region(bucket))


def arrow_client(address: Address, config: Mapping[str, Any]) -> pafs.FileSystem:
    """pyarrow's own client of a bucket; paths on it begin with the bucket's name.

    Args:
        address: of the bucket.
        config: as `client_arguments` has it.

    Raises:
        ValueError: it is the memory of this process.
    """
    endpoint = config.get("endpoint") or config.get("base_url") or ""
    scheme, _, host = endpoint.partition("://")
    options: dict[str, Any] = {"scheme": scheme, "endpoint_override": host} if endpoint else {}
    kind = SCHEMES.get(address.scheme)
    if kind == "s3":
        keys = {"access_key": config.get("access_key_id"), "secret_key": config.get("secret_access_key")}
        patience = pafs.AwsStandardS3RetryStrategy(max_attempts=_ARROW_ATTEMPTS)
        options |= {**keys, "region": config.get("region"), "retry_strategy": patience}
        return pafs.S3FileSystem(anonymous="skip_signature" in config, **options)
    if kind == "gs":
        return pafs.GcsFileSystem(anonymous="skip_signature" in config, **options)
    if kind is None:
        raise ValueError(f"memory://{address.bucket} is seen by this process only; use another storage root")
    account = config.get("account_name") or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
    account = account or address.bucket.rpartition("@")[2].partition(".")[0]
    return pafs.AzureFileSystem(
        account, account_key=config.get("account_key") or os.environ.get("AZURE_STORAGE_ACCOUNT_KEY")
    )
