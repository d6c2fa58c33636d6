from __future__ import annotations

import errno
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raylab import disk, object_store
from raylab.bucket_address import split_uri
from raylab.disk import PARTIAL
from raylab.errors import ExistsError, MissingError, NetworkError, StoreError
from raylab.files import Folder, absolute, open_at
from tests.s3 import S3Server

TABLE = pa.table({"region_id": pa.array([2, 0, 1]), "phi": pa.array([0.5, 0.25, 0.0])})
KINDS = ("folder", "file", "memory", "s3")
NAMES = ("a b/c+é%41#.bin", "ÿ/ü.bin", "~=&,;@!$'()*.bin")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3")
        server.make_bucket(bucket := f"bucket-{uuid4().hex}")
        return Folder(server.uri(f"{bucket}/below it"))
    uris = {"folder": str(tmp_path / "s"), "file": f"file://{tmp_path}/s", "memory": f"memory://{uuid4().hex}"}
    return Folder(uris[request.param])


# What every folder does, wherever it is.


def test_files_come_back_as_they_were_written(store: Folder) -> None:
    store.write_bytes("a/b/c.bin", b"\x00\xff")
    store.write_bytes("a/empty", b"")
    store.write_json("a/d.json", {"z": [1, None], "a": "é"})
    store.write_table("a/t.parquet", TABLE)
    assert store.read_bytes("a/b/c.bin") == b"\x00\xff"
    assert store.read_bytes("a/empty") == b""
    assert store.read_json("a/d.json") == {"z": [1, None], "a": "é"}
    assert list(store.read_json("a/d.json")) == ["z", "a"]
    assert store.read_table("a/t.parquet").equals(TABLE)
    assert store.sha256("a/b/c.bin") == "06eb7d6a69ee19e5fbdf749018d3d2abfa04bcbd1365db312eb86dc7169389b8"


def test_what_is_there(store: Folder) -> None:
    for path in ("d.bin", "a/b/c.bin", "a/b.bin", "ab/x.bin"):
        store.write_bytes(path, path.encode())
    assert store.list() == ["a", "ab", "d.bin"]
    assert store.list("a") == ["b", "b.bin"]
    assert store.list("nothing") == []
    assert store.walk() == (["a/b.bin", "a/b/c.bin", "ab/x.bin", "d.bin"], [])
    assert store.walk("a") == (["b.bin", "b/c.bin"], [])
    assert store.walk("nothing") == ([], [])
    assert [store.exists(path) for path in ("a", "a/b", "a/b.bin", "a/x", "d.bin/x")] == [True] * 3 + [False] * 2
    assert [store.is_folder(path) for path in ("", "a", "a/b.bin", "a/x")] == [True, True, False, False]
    assert [store.is_file(path) for path in ("a/b.bin", "a", "a/x", "d.bin/x")] == [True, False, False, False]
    assert [store.size(path) for path in ("a/b.bin", "a", "a/x")] == [7, None, None]
    assert store.modified("a/x") is None
    modified = store.modified("a/b.bin")
    assert modified is not None
    assert abs(modified - datetime.now(UTC)) < timedelta(days=1)
    assert store.below("a").read_bytes("b/c.bin") == b"a/b/c.bin"
    assert store.below("a").below("b").list() == ["c.bin"]


def test_names_that_look_like_something_else(store: Folder) -> None:
    for name in NAMES:
        store.write_bytes(name, name.encode())
    assert store.walk()[0] == sorted(NAMES, key=os.fsencode)
    assert [store.read_bytes(name) for name in NAMES] == [name.encode() for name in NAMES]
    assert pickle.loads(pickle.dumps(store.below("a b"))).list() == ["c+é%41#.bin"]


def test_a_second_write_takes_the_place_of_the_first(store: Folder) -> None:
    store.write_json("x.json", {"long": "x" * 1000})
    store.write_json("x.json", 1)
    assert store.read_json("x.json") == 1
    assert store.list() == ["x.json"]


def test_one_of_many_creates_a_file(store: Folder) -> None:
    def create(number: int) -> int | None:
        try:
            store.create("lease/0001", b"%d" % number)
        except ExistsError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        (winner,) = (number for number in pool.map(create, range(8)) if number is not None)
    assert store.read_bytes("lease/0001") == b"%d" % winner
    store.write_bytes("lease/0001", b"again")
    with pytest.raises(ExistsError) as caught:
        store.create("lease/0001", b"9")
    assert str(caught.value).startswith(f"{store.uri_of('lease/0001')} exists already; ")
    assert store.read_bytes("lease/0001") == b"again"
    assert store.walk()[0] == ["lease/0001"]


def test_delete_takes_files_and_folders_and_what_is_not_there(store: Folder) -> None:
    store.write_json("a/x.json", 1)
    store.write_json("a/b/y.json", 1)
    store.write_json("ab.json", 1)
    store.delete("a/x.json")
    assert store.list("a") == ["b"]
    store.delete("a")
    assert not store.exists("a")
    store.delete("a")
    assert store.list() == ["ab.json"]


def test_pickles_small_and_opens_the_same_folder(store: Folder) -> None:
    store.write_json("x.json", 7)
    store.list()
    text = pickle.dumps(store)
    assert len(text) < 400
    for other in (pickle.loads(text), Folder(store.uri)):
        assert other.uri == store.uri
        assert other.read_json("x.json") == 7
    folder, name = open_at(store.uri_of("x.json"))
    assert (folder.uri, name) == (store.uri, "x.json")


def test_what_is_missing_or_damaged_names_the_file(store: Folder) -> None:
    store.write_bytes("bad.json", b'{"a": ')
    store.write_bytes("latin.json", b'"\xe9"')
    store.write_bytes("bad.parquet", b"PAR1 and no more")

    def read_part(path: str) -> None:
        with store.parquet(path) as file:
            file.read_row_group(0)

    for read, path, reason in (
        (store.read_bytes, "gone", "is missing; "),
        (store.sha256, "gone", "is missing; "),
        (store.read_table, "gone.parquet", "is missing; "),
        (read_part, "gone.parquet", "is missing; "),
        (store.read_json, "bad.json", "is no JSON"),
        (store.read_json, "latin.json", "is no JSON"),
        (store.read_table, "bad.parquet", "is no readable Parquet file"),
        (read_part, "bad.parquet", "is no readable Parquet file"),
    ):
        with pytest.raises(StoreError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{store.uri_of(path)} {reason}")
        assert "\n" not in str(caught.value)
        assert isinstance(caught.value, MissingError) == (reason == "is missing; ")
    with pytest.raises(FileNotFoundError):
        store.file("gone").open().read()
    with pytest.raises(FileNotFoundError):
        store.file("gone").open(whole=False).read()


def test_parts_of_a_table_are_read(store: Folder) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(TABLE, sink, row_group_size=1)
    store.write_bytes("t.parquet", sink.getvalue())
    with store.parquet("t.parquet") as file:
        assert file.read_row_group(1, ["phi"])["phi"].to_pylist() == [0.25]


def test_parts_of_a_file_are_read(store: Folder) -> None:
    content = os.urandom(3 * object_store.HEAD_BYTES + 17)
    store.write_bytes("x", content)
    store.write_bytes("empty", b"")
    with store.open("x", whole=False) as file:
        assert file.read(10) == content[:10]
        assert file.seek(-20, os.SEEK_END) == len(content) - 20
        assert file.read() == content[-20:]
        assert file.read(1) == b""
        file.seek(100)
        file.seek(5, os.SEEK_CUR)
        assert file.read(2 * object_store.HEAD_BYTES) == content[105:][: 2 * object_store.HEAD_BYTES]
    with store.open("empty", whole=False) as file:
        assert file.read() == b""


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40), st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=6))
def test_parts_of_an_object_are_those_of_its_bytes(content: bytes, reads: list[tuple[int, int]]) -> None:
    folder = Folder("memory://parts")
    folder.write_bytes("x", content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(object_store, "HEAD_BYTES", 8)
        with folder.open("x", whole=False) as file:
            for start, size in reads:
                file.seek(start)
                assert file.read(size) == content[start : start + size]


# Local folders.


def test_a_file_uri_is_its_local_path(tmp_path: Path) -> None:
    assert absolute(f"file://{tmp_path}/a%20b") == f"{tmp_path}/a b"
    assert Folder(f"file://localhost{tmp_path}").uri == str(tmp_path)
    with pytest.raises(StoreError, match=r"^storage: file://another-host/x cannot be opened"):
        Folder("file://another-host/x")


_WRITES = """
import os, sys
from raylab import disk
from raylab.files import Folder
def stop(*_):
    print("half", flush=True)
    sys.stdin.read()
disk.os.replace = stop
Folder(sys.argv[1]).write_bytes("a/x", b"half")
"""


def test_what_a_killed_process_left_is_not_seen_and_is_swept(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WRITES, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == b"half\n"
        (left,) = (tmp_path / "a").iterdir()
        assert left.name.startswith(PARTIAL)
        store = Folder(tmp_path)
        assert (store.list("a"), store.walk()) == ([], ([], []))
        Folder(tmp_path).write_json("a/y", 1)
        assert left.exists(), "a file that is being written was removed"
        writer.kill()
        writer.wait()
    store.write_json("a/y", 1)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["y"]


@pytest.mark.parametrize(("age", "stays"), [(timedelta(hours=25), False), (timedelta(hours=23), True)])
def test_without_locks_what_was_left_is_swept_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: timedelta, stays: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(disk.fcntl, "flock", refuse)
    left = tmp_path / f"{PARTIAL}01234567-x"
    left.write_bytes(b"half")
    then = time.time() - age.total_seconds()
    os.utime(left, (then, then))
    Folder(tmp_path).write_json("y", 1)
    assert left.exists() == stays


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The kernel refuses to let files grow beyond a size, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("write", [Folder.write_bytes, Folder.create])
def test_a_write_that_fails_leaves_nothing(tmp_path: Path, write: Callable[[Folder, str, bytes], None]) -> None:
    store = Folder(tmp_path)
    with largest_file(1000), pytest.raises(StoreError, match=r"^\S+/a/new cannot be written \(File too large\); "):
        write(store, "a/new", b"x" * 100_000)
    assert list((tmp_path / "a").iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    store.write_json("a/x.json", "old")
    with largest_file(1000), pytest.raises(StoreError):
        store.write_json("a/x.json", "new" * 1000)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.json"]
    assert store.read_json("a/x.json") == "old"


def test_a_full_disk_is_told_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"x cannot be written \(No space left on device\); free some space$"):
        Folder(tmp_path).write_bytes("x", b"")
    assert list(tmp_path.iterdir()) == []


def test_bytes_reach_the_disk_before_the_name_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Folder(tmp_path)
    seen = []
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append((os.fstat(handle).st_size, store.list())))
    store.write_bytes("x", b"12345")
    store.create("y", b"123")
    assert seen == [(5, []), (3, ["x"])]


def test_a_file_is_created_once_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    store = Folder(tmp_path)
    store.create("a/x", b"one")
    with pytest.raises(ExistsError):
        store.create("a/x", b"two")
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "a").iterdir()] == [("x", b"one")]


def test_reading_makes_no_folder(tmp_path: Path) -> None:
    store = Folder(str(tmp_path / "typo"), create=False)
    assert not store.exists("studies")
    assert store.list("studies") == []
    assert not (tmp_path / "typo").exists()
    store.write_json("x.json", 1)
    assert Folder(str(tmp_path / "typo")).list() == ["x.json"]
    assert Folder(str(tmp_path / "new")).local == tmp_path / "new"
    assert (tmp_path / "new").is_dir()


def test_a_local_root_is_absolute_whatever_folder_workers_are_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Folder("results")
    store.write_json("x.json", 1)
    folder, name = open_at("results/x.json")
    monkeypatch.chdir("/")
    assert pickle.loads(pickle.dumps(store)).read_json("x.json") == folder.read_json(name) == 1
    assert store.local == tmp_path / "results"
    assert Folder("/").uri_of("a") == "/a"


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    for create in (True, False):
        with pytest.raises(StoreError, match=r"^output: .*/x is a file; give a folder"):
            Folder(tmp_path / "x", create=create, field="output")
    with pytest.raises(StoreError, match=r"^storage: .*/x/y cannot be opened \(Not a directory\); move away what"):
        Folder(tmp_path / "x" / "y")


def test_a_path_that_cannot_be_written_or_read(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    store.write_json("x.json", 1)
    (tmp_path / "folder").mkdir()
    for act in (
        lambda: store.write_bytes("x.json/y", b""),
        lambda: store.create("x.json/y", b""),
        lambda: store.write_bytes("folder", b""),
    ):
        with pytest.raises(StoreError, match=r" cannot be written \(.+\); move away what lies there"):
            act()
    with pytest.raises(StoreError, match=r"folder cannot be read \(Is a directory\)"):
        store.read_bytes("folder")
    with pytest.raises(StoreError, match=r"x\.json cannot be read \(Not a directory\)"):
        store.list("x.json")


# Object stores.


@pytest.mark.parametrize("uri", ["nosuchscheme://bucket/x", "s3:/x://y", "s3:///x", "s3://bucket?no_such_option=1"])
def test_an_address_nobody_knows(uri: str, s3: S3Server) -> None:
    with pytest.raises(StoreError, match=r"^storage: .* cannot be opened \(.+\); correct it$") as caught:
        Folder(uri)
    assert "\n" not in str(caught.value)


def test_options_of_a_uri_stay_at_its_end() -> None:
    store = Folder("s3://bucket/raylab?endpoint_override=host:9000&scheme=http", create=False)
    assert store.uri_of("a/b.json") == "s3://bucket/raylab/a/b.json?endpoint_override=host:9000&scheme=http"
    assert store.below("a").uri == "s3://bucket/raylab/a?endpoint_override=host:9000&scheme=http"


def test_a_bucket_that_is_not_there(s3: S3Server) -> None:
    uri = s3.uri("no-such-bucket/x")
    with pytest.raises(StoreError, match=r"^storage: .*cannot be opened \(NoSuchBucket: .+\); create the bucket"):
        Folder(uri)
    store = Folder(uri, create=False)
    for act in (lambda: store.write_bytes("x", b""), store.list, store.walk, lambda: store.is_folder("")):
        with pytest.raises(StoreError, match=r"no-such-bucket.* cannot be .+ \(NoSuchBucket: .+\); create the bucket"):
            act()


def away(**options: str) -> tuple[int, str]:
    """A port where no server is, and the URI of a bucket there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    more = "".join(f"&{name}={value}" for name, value in options.items())
    return port, f"s3://bucket?endpoint_override=127.0.0.1:{port}&scheme=http{more}"


def test_a_server_that_does_not_answer(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(object_store, "RETRY", {"max_retries": 1})
    told = r"\(.+\); check the address and the network"
    with pytest.raises(StoreError, match=rf"^storage: .*cannot be opened {told}") as caught:
        Folder(away()[1])
    assert "\n" not in str(caught.value)
    store = Folder(away(patience="0.5")[1], create=False)
    object_store._say_that_it_is_away.cache_clear()
    for act in (lambda: store.write_bytes("x", b""), store.list, store.walk, lambda: store.read_bytes("x")):
        with pytest.raises(NetworkError, match=rf"127\.0\.0\.1.* cannot be .+ {told}"):
            act()
    (warning,) = recwarn
    assert str(warning.message).startswith("bucket bucket does not answer; it is asked again for 0.5 seconds: check")
    with pytest.raises(StoreError, match=r"patience=1m is no number of seconds\); correct it"):
        Folder(away(patience="1m")[1])


@pytest.mark.fault
def test_a_server_that_comes_back(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, record_fault: Callable[..., None]
) -> None:
    monkeypatch.setattr(object_store, "RETRY", {"max_retries": 0})
    server, (port, uri) = S3Server(tmp_path / "log"), away()

    def come_back(*_: object) -> None:
        if server.process is None:
            server.start(port)
            server.make_bucket("bucket")

    monkeypatch.setattr(object_store, "_say_that_it_is_away", come_back)
    store = Folder(uri, create=False)
    try:
        store.create("x", b"1")
        assert store.read_bytes("x") == b"1"
    finally:
        server.end()
    promise = "what is asked is asked again until there is an answer, and said once"
    record_fault(
        "an S3 server that is not there when it is asked, and comes back", promise, {"outages": 1}, {"errors": 0}
    )


def test_keys_that_may_not(s3: S3Server) -> None:
    denied = PermissionError(errno.EACCES, "AccessDenied: no")
    bucket = object_store.open_bucket(split_uri(s3.uri("bucket"))[0])
    assert bucket.way_out(denied).startswith("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")


def test_keys_in_the_uri_or_none_at_all(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.make_bucket(name := f"bucket-{uuid4().hex}")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for uri in (f"{s3.uri(name)}&anonymous=true", s3.uri(f"key:sec%2Fret@{name}")):
        store = Folder(uri)
        store.write_bytes("x", b"1")
        assert pickle.loads(pickle.dumps(store)).list() == ["x"]


def test_the_endpoint_of_the_environment(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.make_bucket(name := f"bucket-{uuid4().hex}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{s3.address}")
    Folder(f"s3://{name}/a").write_bytes("x", b"1")
    assert Folder(s3.uri(name)).walk()[0] == ["a/x"]


def test_keys_of_an_aws_profile(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.make_bucket(name := f"bucket-{uuid4().hex}")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "keys").write_text("[work]\naws_access_key_id = of-the-profile\naws_secret_access_key = x\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    monkeypatch.setenv("AWS_PROFILE", "work")
    store = Folder(s3.uri(name))
    store.write_bytes("x", b"1")
    provider = object_store.open_bucket(split_uri(s3.uri(name))[0]).arguments["credential_provider"]
    assert provider()["access_key_id"] == "of-the-profile"


def test_folders_that_other_programs_draw_are_no_files(s3: S3Server) -> None:
    s3.make_bucket(name := f"bucket-{uuid4().hex}")
    for key in ("data/", "data/train/", "data/train/a.png"):
        s3.put(name, key, b"")
    store = Folder(s3.uri(f"{name}/data"))
    assert store.walk() == (["train/a.png"], [])
    assert store.list() == ["train"]
    assert store.list("train") == ["a.png"]
    Folder(s3.uri(name)).delete("data")
    assert not Folder(s3.uri(name)).exists("data")


def test_large_objects_come_in_parts(s3: S3Server) -> None:
    s3.make_bucket(name := f"bucket-{uuid4().hex}")
    store, content = Folder(s3.uri(name)), os.urandom(12 * 2**20)
    store.write_bytes("x", content)
    assert store.read_bytes("x") == content


def test_ray_is_given_the_same_bucket(s3: S3Server) -> None:
    s3.make_bucket(name := f"bucket-{uuid4().hex}")
    store = Folder(s3.uri(f"{name}/below"))
    found = store.for_ray("a")
    files = pickle.loads(pickle.dumps(found["storage_filesystem"]))
    files.create_dir(found["storage_path"], recursive=True)
    with files.open_output_stream(f"{found['storage_path']}/x") as file:
        file.write(b"1")
    assert store.read_bytes("a/x") == b"1"
    store.write_bytes("a/b/y", b"2")
    infos = files.get_file_info(pa.fs.FileSelector(found["storage_path"], recursive=True))
    assert sorted(info.base_name for info in infos if info.is_file) == ["x", "y"]
    files.delete_dir(found["storage_path"])
    assert store.walk() == ([], [])


def test_a_forked_process_is_told_that_it_cannot(s3: S3Server) -> None:
    store = Folder("memory://forks")
    store.write_bytes("x", b"1")
    assert object_store.start_method() == "forkserver"
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            store.read_bytes("x")
        except StoreError as error:
            os._exit(0 if "a forked process cannot use object stores" in str(error) else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted as Linux lists them")
def test_no_thread_is_left_with_the_bytes_of_a_table(tmp_path: Path) -> None:
    """One that still holds them while the process ends may abort it."""
    Folder(str(tmp_path)).write_table("t.parquet", TABLE)
    code = """
import os, sys, pyarrow as pa, pyarrow.parquet as pq
from raylab.files import Folder
pq.ParquetFile(pa.BufferReader(open(sys.argv[1] + "/t.parquet", "rb").read())).metadata  # pyarrow's own of the start
before = set(os.listdir("/proc/self/task"))
Folder(sys.argv[1]).read_table("t.parquet")
assert set(os.listdir("/proc/self/task")) <= before
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=120)
