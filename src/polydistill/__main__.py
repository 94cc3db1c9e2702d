"""The program as `python -m polydistill`."""

from polydistill.cli.app import main

if __name__ == "__main__":
    main()
