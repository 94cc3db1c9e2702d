"""The program as `python -m polydistill`."""

from polydistill.cli.app import main

main()
