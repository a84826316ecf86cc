"""What is not here."""


class MissingOperatorError(RuntimeError):
    """An operator without a fallback; the message says how to get the compiled one.

    Args:
        what: the operator, or a mode of one.
    """

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} needs mmcv's compiled operators, which are not installed; micronet_mm's fallback does not have "
            "it. Compile them: 'make env MMCV=compiled VENV=.venv-compiled', or in place of mmcv-lite 'MMCV_WITH_OPS=1 "
            "pip install --no-build-isolation --no-binary mmcv mmcv==2.1.0', with a C++ compiler, setuptools<81 and "
            'torch<2.10.')
