#!/usr/bin/env python
"""Write scikit-learn's 1,797 handwritten digits as ROOT/{train,val}/<digit>/*.png, a third of them held out."""
import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np


def write_digits(root: Path) -> None:
    """The 8 x 8 digits of ``load_digits`` in 8-bit grey; ``root`` appears when it is complete.

    Raises:
        FileExistsError: if ``root`` holds anything, or is in what is no folder.
        ModuleNotFoundError: one line if scikit-learn is not there.
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        message = 'the digits come with scikit-learn, which is not installed: pip install scikit-learn.'
        raise ModuleNotFoundError(message, name=error.name) from None
    if any(path.is_file() for path in (root, *root.parents)) or (root.exists() and any(root.iterdir())):
        raise FileExistsError(f'{root} holds something or cannot be made; name a new or an empty folder.')
    root.parent.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f'.{root.name}.') as temporary:
        new = Path(temporary) / 'new'
        for index, (image, label) in enumerate(zip(digits.images, digits.target)):
            folder = new / ('val' if index % 3 == 0 else 'train') / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f'{index:04d}.png'), np.round(image * 255 / 16).astype(np.uint8))
        shutil.move(new, root)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', type=Path, help='folder to create')
    root = parser.parse_args().root
    try:
        write_digits(root)
    except (OSError, ImportError) as error:
        sys.exit(f'error: {error}')
    print(f'{root}: 1198 digits to train on, 599 held out')


if __name__ == '__main__':
    main()
