"""`regraft bench serve`: three HTTP servers with one model on one machine."""
