"""The command line: `python -m tokenkeeper`, from `functions/` or with it on `PYTHONPATH`."""

import sys

if __name__ == "__main__":
    try:
        from tokenkeeper.cli.commands import main
    except ModuleNotFoundError as error:
        sys.stderr.write(f"The installation is broken ({error.name} is missing): remove .venv and run make again.\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(main())
