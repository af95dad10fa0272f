"""What the table cannot say: packages, scripts of the page, lines that became too long, depths."""
import re, subprocess
from pathlib import Path
def sub(path, *pairs):
    p = Path(path); s = p.read_text()
    for a, b in pairs:
        assert a in s, (path, a)
        s = s.replace(a, b)
    p.write_text(s)
JS = {'exchange': 'import_export', 'keys': 'keyboard', 'motion': 'walks', 'notes': 'messages', 'tending': 'connection', 'words': 'format'}
for p in Path('bladerunner_ae/server/explorer/page').iterdir():
    if p.suffix in ('.js', '.html'):
        s = p.read_text()
        for a, b in JS.items(): s = s.replace(f'/{a}.js', f'/{b}.js')
        p.write_text(s)
packages = sorted({str(f.parent).replace('/', '.') for f in Path('bladerunner_ae').rglob('__init__.py')})
s = Path('setup.cfg').read_text()
s = re.sub(r'packages =\n(    .*\n)+', 'packages =\n' + ''.join(f'    {p}\n' for p in [*packages, 'bladerunner_ae_tools', 'tfrecords']), s, count=1)
Path('setup.cfg').write_text(s)
sub('bladerunner_ae/command_line/signals.py', ('top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))', 'top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))'))
# Benchmarks are run as modules, and spoken of as folders.
files = subprocess.check_output(['git', 'ls-files', '-co', '--exclude-standard'], text=True).split('\n')[:-1]
for f in files:
    p = Path(f)
    if not p.is_file() or p.suffix in ('.png', '.gif', '.jpg'): continue
    try: s = p.read_text()
    except UnicodeDecodeError: continue
    n = s.replace('"python", "benchmarks/exactness/__main__.py"', '"python", "-m", "benchmarks.exactness"')
    n = re.sub(r'benchmarks/(\w+)/__main__\.py', r'benchmarks/\1', n)
    if n != s: p.write_text(n)
# Tests by name, in the Makefile.
import sys; sys.path.insert(0, '/work/tmp/house')
from table import table
s = Path('Makefile').read_text()
m = re.search(r'oldest = ((?:.|\n)*?)\n(?=oldest_test)', s)
names = m[1].replace('\\\n', ' ').split()
new = [table.get(f'tests/test_{n}.py', f'tests/test_{n}.py').removeprefix('tests/').removesuffix('.py') for n in names]
import textwrap
wrapped = ' \\\n    '.join(textwrap.wrap(' '.join(new), 84))
s = s.replace(m[0], f'oldest = {wrapped}\n').replace('$(oldest:%=tests/test_%.py)', '$(oldest:%=tests/%.py)')
Path('Makefile').write_text(s)
