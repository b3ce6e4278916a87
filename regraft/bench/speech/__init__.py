"""`regraft bench speech-to-sign`: words of unseen speakers, and the signs made of them."""
