"""The bus: connection, client, buckets, streams, subjects, permissions. It does not know runs or pipelines."""
