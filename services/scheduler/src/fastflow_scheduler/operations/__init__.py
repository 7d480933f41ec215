"""Operations: many starts or cancels that were asked for at once, carried on by one scheduler at a time."""
