"""The routes of runs: start, list, cancel and retry them; read and follow their log, samples and cells."""
