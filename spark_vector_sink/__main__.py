"""`python -m spark_vector_sink check|search|inspect|rollback`."""

from spark_vector_sink.command_line.commands import main

if __name__ == "__main__":
    main()
