"""Who may ask: sessions, rate limits, signatures, encryption of secrets."""
