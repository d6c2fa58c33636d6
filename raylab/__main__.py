"""`python -m raylab`: the command line where the installed command is not on the path."""

from raylab.cli import main

if __name__ == "__main__":
    main()
