"""The live side: what was answered, how it compares with what the champion was trained on."""
