"""Packaging of micronet-mm. Requirements live in requirements/, one file an extra."""
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
LINES = ('lite', 'onedl')  # of MMLab; one of them must be chosen
EXTRAS = ('det', 'pose', 'cls', 'timm', 'export', 'tests', 'docs')
RIVALS = ('benchmark',)  # to compare with, so not part of 'all'
# micronet_mm where MMLab is in place; micronet_runtime, which needs neither; the page of micronet_web, upon either
APART = ('core', 'runtime', 'web', 'web-tests')
MIM = ('configs', 'tools', 'model-index.yml', 'CHANGELOG.md')  # what a wheel holds in micronet_mm/.mim


class BuildWithMim(build_py):
    """Adds what MMLab's packages hold beside modules, where mim and MMEngine look for it."""

    def run(self):
        super().run()
        if self.editable_mode:  # it is beside the package then
            return
        folder = Path(self.build_lib) / 'micronet_mm' / '.mim'
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in MIM:
            if (HERE / name).is_dir():
                shutil.copytree(HERE / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
            else:
                shutil.copy(HERE / name, folder)


def requirements(name):
    lines = (HERE / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


version = re.search(r"__version__ = '(.+)'", (HERE / 'micronet_mm' / 'version.py').read_text())[1]
extras = {name: requirements(name) for name in APART}
extras |= {name: extras['core'] + requirements(name) for name in LINES + EXTRAS + RIVALS}
extras['all'] = sorted({line for name in EXTRAS for line in extras[name]})

setup(
    name='micronet-mm',
    version=version,
    description='MicroNet (ICCV 2021) for MMDetection, MMPose and MMPretrain',
    long_description=(HERE / 'README.md').read_text() if (HERE / 'README.md').exists() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['micronet_mm', 'micronet_mm.*', 'micronet_runtime', 'micronet_web']),
    py_modules=['micronet_mm_autoload', 'micronet_mm_console', 'micronet_mm_process'],
    entry_points={
        'torch.backends': ['micronet_mm = micronet_mm_autoload:autoload'],
        'console_scripts': ['micronet-mm = micronet_mm_console:main'],
    },
    package_data={
        'micronet_mm': ['py.typed', 'weights/*'],
        'micronet_mm.ops': ['*.cpp', '*.h', 'plan/*.c', 'plan/*.cpp', 'plan/*.h'],
        'micronet_runtime': ['py.typed'],
    },
    cmdclass={'build_py': BuildWithMim},
    extras_require=extras,
)
