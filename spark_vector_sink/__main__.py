"""Run the command line: `python -m spark_vector_sink check|search|inspect|rollback`."""

from spark_vector_sink.cli.commands import main

if __name__ == "__main__":
    main()
