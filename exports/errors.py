"""Errors of exports."""


class ExportError(ValueError):
    """Files that are no whole export, or a form that cannot be written here; the message is one sentence."""
