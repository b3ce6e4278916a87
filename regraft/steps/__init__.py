"""One function per pipeline step: paths and plain options in, files in a folder out.

Components, the command line and tests call the same functions.
"""
