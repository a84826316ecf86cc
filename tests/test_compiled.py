"""The C++ operators are there on every machine that can have them, and no start ends over a library that is not right.

Every test starts processes of their own, on a machine of a few folders: a home, temporary files and programs. Its
compiler hands out the library that this process uses, so that it takes no time, and counts how often it runs.
"""
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import micronet_mm
from micronet_mm.ops import compiled

USER = 54321  # without an entry in passwd
COMPILER = f'''#!/bin/sh
echo >>"$RUNS"
: >"$TMPDIR/part" || exit 1
for word; do [ "$last" = -o ] && made=$word; last=$word; done
{shutil.which('head')} -c 5000 "$LIBRARY" >"$made"
{shutil.which('sleep')} "${{PAUSE:-0}}"
{shutil.which('cat')} "$LIBRARY" >"$made"
'''
WARNING = 'MicroNet uses the slower PyTorch implementation'

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux') or compiled.library() is None,
                                reason='there is no library to start with')
as_root = pytest.mark.skipif(os.name == 'posix' and os.geteuid() != 0, reason='only root can become another user')


class Machine:
    """A machine below ``folder``, which everybody may read."""

    def __init__(self, folder):
        self.folder, self.runs = folder, folder / 'runs'
        for name in ('home', 'tmp', 'bin', 'empty'):
            (folder / name).mkdir()
        (folder / 'tmp').chmod(0o1777)
        shutil.copytree(Path(micronet_mm.__file__).parent, folder / 'micronet_mm')
        self.library = Path(shutil.copy(compiled.library()._name, folder / 'library.so'))
        self.library.chmod(0o644)
        self.runs.touch()
        self.runs.chmod(0o666)
        self.install()
        self.env = {**os.environ, 'HOME': str(folder / 'home'), 'TMPDIR': str(folder / 'tmp'),
                    'PATH': str(folder / 'bin'), 'RUNS': str(self.runs), 'LIBRARY': str(self.library),
                    'PYTHONPATH': str(folder)}
        for name in ('XDG_CACHE_HOME', 'CXX'):
            self.env.pop(name, None)

    def install(self, script=COMPILER, name='g++'):
        """Install a compiler, and return its path."""
        path = self.folder / 'bin' / name
        path.write_text(script)
        path.chmod(0o755)
        return path

    def remove_compiler(self):
        (self.folder / 'bin/g++').unlink()

    def start(self, first='', as_user=False, **env):
        """The library that a new process uses, None for none, and what it warned of. ``env`` adds, None removes."""
        env = {name: value for name, value in {**self.env, **env}.items() if value is not None}
        become = f'os.setgroups([]); os.setgid({USER}); os.setuid({USER})' if as_user else ''
        code = (f'import os, sys\nsys.path.insert(0, {str(self.folder / "micronet_mm/ops")!r})\nimport compiled\n'
                f'{become}\n{first}\nused = compiled.library()\nprint(used and used._name)')
        return self.run(code, env)

    def run(self, code, env):
        run = subprocess.run([sys.executable, '-B', '-c', code], env=env, capture_output=True, text=True,
                             cwd=self.folder / 'empty', timeout=100)
        assert run.returncode == 0, (run.returncode, run.stderr)
        assert run.stderr.count(WARNING) == ('None' in run.stdout)
        return None if 'None' in run.stdout else Path(run.stdout.strip()), run.stderr

    @property
    def builds(self):
        return len(self.runs.read_text())


@pytest.fixture
def machine():
    with tempfile.TemporaryDirectory() as folder:  # others may not enter tmp_path
        Path(folder).chmod(0o755)
        yield Machine(Path(folder))


# Where it is kept


@as_root
def test_a_user_without_home_and_passwd_entry_has_the_operators(machine):
    code = ('import os, torch\nfrom micronet_mm.ops import compiled, shift_max\n'
            f'os.setgroups([]); os.setgid({USER}); os.setuid({USER})\n'
            'shift_max(torch.rand(1, 4, 2, 2), torch.rand(1, 2, 2, 4), 2)\nprint(compiled.library()._name)')
    env = {name: value for name, value in machine.env.items() if name != 'HOME'}
    path, said = machine.run(code, env)
    assert path.parent == machine.folder / 'tmp' / f'micronet_mm_{USER}'
    assert (path.parent.stat().st_mode & 0o777, path.parent.stat().st_uid) == (0o700, USER)
    assert 'MicroNet runs through' not in said  # PyTorch may not be able to remove what it made as another user
    assert machine.start(as_user=True, HOME=None) == (path, '')
    assert machine.builds == 1


@pytest.mark.parametrize('home', ['/proc', '.', 'nowhere'])
def test_a_home_where_nothing_can_be_kept(home, machine):
    path, warned = machine.start(HOME=home)
    assert (path.parent, warned) == (machine.folder / 'tmp' / f'micronet_mm_{os.geteuid()}', '')
    assert machine.start(HOME=home) == (path, '')
    assert machine.builds == 1
    assert not list((machine.folder / 'empty').iterdir())


@as_root
@pytest.mark.parametrize('mode', [0o755, 0o700])
def test_the_home_of_somebody_else(mode, machine):
    (machine.folder / 'home').chmod(mode)
    path, warned = machine.start(as_user=True)
    assert (path.parent.name, warned) == (f'micronet_mm_{USER}', '')


@pytest.mark.parametrize('wanted', ['', 'cache', '~/cache'])
def test_xdg_cache_home_that_is_not_absolute_counts_as_unset(wanted, machine):
    path, _ = machine.start(XDG_CACHE_HOME=wanted)
    assert path.parent == machine.folder / 'home/.cache/micronet_mm'
    assert not list((machine.folder / 'empty').iterdir())


@pytest.mark.parametrize('fault', ['open', 'link', pytest.param('owner', marks=as_root)])
def test_nothing_is_loaded_that_another_user_may_have_put_there(fault, machine):
    path, _ = machine.start(HOME='/proc')
    folder = path.parent
    if fault == 'open':
        folder.chmod(0o777)
    elif fault == 'owner':
        os.chown(folder, USER, USER)
    else:
        folder.symlink_to(folder.rename(machine.folder / 'elsewhere'))
    path, warned = machine.start(HOME='/proc')
    assert path is None
    assert f'{folder} is not private to user {os.geteuid()}; set XDG_CACHE_HOME' in warned


def test_where_nothing_can_be_written_the_warning_says_what_to_do(machine):
    path, warned = machine.start('import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))', HOME='nowhere')
    assert path is None and 'set XDG_CACHE_HOME to a folder that can be written' in warned


def test_what_cannot_be_written_at_home_is_kept_elsewhere(machine):
    """As where a quota is used up."""
    (machine.folder / 'home/.cache').touch()
    path, warned = machine.start()
    assert (path.parent.parent, warned) == (machine.folder / 'tmp', '')


def test_the_compiler_writes_nothing_elsewhere(machine):
    """As where temporary files have no room."""
    path, warned = machine.start(TMPDIR='/proc')
    assert warned == '' and list(path.parent.iterdir()) == [path]


# What is not whole


def damage(path, how):
    whole = path.read_bytes()
    path.unlink()
    if how == 'folder':
        path.mkdir()
        (path / 'file').touch()
    elif how == 'pipe':
        os.mkfifo(path)
    elif how == 'link':
        path.symlink_to('nowhere')
    else:
        path.write_bytes(dict(empty=b'', garbage=os.urandom(5000), header=whole[:4096], half=whole[:len(whole) // 2],
                              end=whole[:-1], holes=whole[:4096] + bytes(len(whole) - 4096))[how])


DAMAGES = ['empty', 'garbage', 'header', 'half', 'end', 'holes', 'folder', 'pipe', 'link']


@pytest.mark.parametrize('how', DAMAGES)
def test_a_damaged_library_is_built_again(how, machine):
    path, _ = machine.start()
    damage(path, how)
    assert machine.start() == machine.start() == (path, '')
    assert machine.builds == 2
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize('how', DAMAGES)
def test_a_damaged_library_without_a_compiler_is_left_alone(how, machine):
    damage(machine.start()[0], how)
    machine.remove_compiler()
    path, warned = machine.start()
    assert path is None
    assert 'no C++ compiler was found' in warned and 'is damaged or cannot be read' in warned


@pytest.mark.parametrize('size', [0, 20000])
def test_a_disk_that_is_full_leaves_nothing_behind(size, machine):
    path, warned = machine.start(f'import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))')
    assert path is None and 'g++ failed' in warned
    assert not list((machine.folder / 'home/.cache/micronet_mm').iterdir())
    assert machine.start()[1] == ''


def test_a_process_that_is_killed_while_it_builds_leaves_nothing_that_is_loaded(machine):
    killing = machine.install(f'{COMPILER}kill -9 $PPID\n')
    with pytest.raises(AssertionError, match='-9'):
        machine.start()
    killing.write_text(COMPILER)
    path, warned = machine.start()
    assert path.parent == machine.folder / 'home/.cache/micronet_mm' and warned == ''


def test_processes_that_build_at_once(machine):
    with ThreadPoolExecutor(4) as pool:
        starts = [pool.submit(machine.start, PAUSE='0.5') for _ in range(4)]
    (path, warned), = {start.result() for start in starts}
    assert warned == '' and machine.builds > 1
    assert list(path.parent.iterdir()) == [path]


# Which one is taken


def test_a_second_start_does_not_run_the_compiler(machine):
    assert machine.start() == machine.start()
    assert machine.builds == 1


@pytest.mark.parametrize('as_user', [False, pytest.param(True, marks=as_root)])
def test_without_a_compiler_the_kept_library_is_used(as_user, machine):
    """As in an image whose last stage has no compiler, often run by another user than the one that built it."""
    cache = machine.folder / 'cache'
    path, _ = machine.start(XDG_CACHE_HOME=str(cache))
    machine.remove_compiler()
    path.parent.chmod(0o555)
    assert machine.start(as_user=as_user, XDG_CACHE_HOME=str(cache)) == (path, '')


def test_a_compiler_that_fails_is_no_worse_than_none(machine):
    kept, _ = machine.start()
    machine.install('#!/bin/sh\nexit 1\n')
    assert machine.start() == (kept, '')


def test_another_compiler_builds_anew(machine):
    old, _ = machine.start()
    machine.install(f'{COMPILER}# a newer one\n')
    new, _ = machine.start()
    assert new != old and machine.start()[0] == new
    assert machine.builds == 2


def lacking(library):
    """The library, in need of another one that no machine has."""
    return library.read_bytes().replace(b'libgomp.so.1', b'libgomq.so.1')


def test_a_library_that_does_not_load_is_built_again(machine):
    lame = machine.folder / 'lame.so'
    lame.write_bytes(lacking(machine.library))
    path, warned = machine.start(LIBRARY=str(lame))
    assert path is None and 'libgomq.so.1: cannot open' in warned
    path, warned = machine.start()  # the same compiler, and now what it builds loads
    assert path and warned == ''
    machine.runs.write_text('')
    assert machine.start() == (path, '') and machine.builds == 0


def test_a_library_that_does_not_load_without_a_compiler(machine):
    machine.library.write_bytes(lacking(machine.library))
    machine.start()
    machine.remove_compiler()
    path, warned = machine.start()
    assert path is None
    assert 'libgomq.so.1: cannot open' in warned and 'install g++ or set CXX' in warned


def test_the_libraries_of_two_compilers_in_cxx_are_not_confused(machine):
    plain, _ = machine.start()
    compiler = machine.folder / 'bin/g++'
    checked, _ = machine.start(CXX='g++ -fsanitize=address')
    named, _ = machine.start(CXX=str(compiler))
    assert len({plain, checked, named}) == machine.builds == 3
    assert [machine.start(CXX=cxx)[0] for cxx in (None, 'g++ -fsanitize=address', str(compiler))] == [
        plain, checked, named]
    machine.remove_compiler()
    assert [machine.start(CXX=cxx)[0] for cxx in (None, 'g++ -fsanitize=address', 'g++ -fsanitize=undefined')] == [
        plain, checked, None]


@pytest.mark.skipif(not shutil.which('g++'), reason='needs g++')
def test_a_home_is_shared_by_machines_of_two_c_libraries(machine):
    other = machine.folder / 'other.so'
    subprocess.run(['g++', '-xc', '-shared', '-fPIC', '-o', other, '-'], check=True, text=True, input='''
        #include <string.h>
        unsigned long confstr(int name, char *text, unsigned long size) {
            if (size) strncpy(text, "glibc 9.99", size);
            return 11;
        }''')
    here, _ = machine.start()
    there, _ = machine.start(LD_PRELOAD=str(other))
    assert here != there and machine.start()[0] == here and machine.builds == 2
    there.unlink()
    machine.remove_compiler()
    assert machine.start(LD_PRELOAD=str(other))[0] is None


def test_a_compiler_in_a_folder_with_a_space_in_its_name(machine):
    folder = (machine.folder / 'bin').rename(machine.folder / 'my programs')
    assert machine.start(PATH=str(folder))[1] == ''
