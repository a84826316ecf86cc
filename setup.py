"""Packaging of micronet-mm. Requirements live in requirements/, one file an extra."""
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
LINES = ('lite', 'onedl')  # of MMLab; one of them must be chosen
EXTRAS = ('det', 'pose', 'cls', 'export', 'tests')
RIVALS = ('benchmark',)  # to compare with, so not part of 'all'
# micronet_mm where MMLab is in place; micronet_runtime, which needs neither; the page of micronet_web, upon either
APART = ('core', 'runtime', 'web', 'web-tests')


def requirements(name):
    lines = (HERE / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


extras = {name: requirements(name) for name in APART}
extras |= {name: extras['core'] + requirements(name) for name in LINES + EXTRAS + RIVALS}
extras['all'] = sorted({line for name in EXTRAS for line in extras[name]})

setup(
    name='micronet-mm',
    version='0.1.0',
    description='MicroNet (ICCV 2021) for MMDetection, MMPose and MMPretrain',
    long_description=(HERE / 'README.md').read_text() if (HERE / 'README.md').exists() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['micronet_mm', 'micronet_mm.*', 'micronet_runtime', 'micronet_web']),
    py_modules=['micronet_mm_autoload'],
    entry_points={'torch.backends': ['micronet_mm = micronet_mm_autoload:autoload']},
    package_data={'micronet_mm.ops': ['*.cpp', '*.h', 'plan/*.c', 'plan/*.cpp', 'plan/*.h']},
    extras_require=extras,
)
