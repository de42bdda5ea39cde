"""How workers read and write datasets: hot rows through Postgres's fence, cold files in the object store."""
