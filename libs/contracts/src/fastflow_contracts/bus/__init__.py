"""The bus: connection, client, buckets, streams, subjects, permissions. It knows no run and no pipeline."""
