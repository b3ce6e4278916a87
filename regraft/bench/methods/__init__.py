"""What Regraft does: each file has `measure(prepared, **options) -> figures`."""
