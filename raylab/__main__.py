"""The program `raylab`, and `python -m raylab` where the installed command is not on the path."""

from raylab.errors import without_teardown


def main() -> None:
    """Run the command line as a process of its own."""
    with without_teardown():
        from raylab.cli import main as command_line

        command_line()


if __name__ == "__main__":
    main()
