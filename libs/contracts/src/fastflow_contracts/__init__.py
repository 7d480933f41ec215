"""What every service agrees on: messages, subjects, streams, the Run machine, the pipeline format, the typed wire."""
