"""Short names of modules between backticks: `film/steady.py`, `film.steady`, `config.py`."""
import re, subprocess, sys
from pathlib import Path
sys.path.insert(0, '/work/tmp/house')
from table import table
P = 'bladerunner_ae/'
short = {}
for o, n in table.items():
    if o.startswith(P) and o.endswith('.py') and not o.endswith('__init__.py'):
        so, sn = o[len(P):], n[len(P):]
        short[so] = sn
        if '/' in so: short[so[:-3].replace('/', '.')] = sn[:-3].replace('/', '.')
for o, n in table.items():
    if o.startswith('tests/'): short[o.split('/')[-1]] = n
keys = sorted(short, key=len, reverse=True)
TICK = re.compile(r'`([^`\n]+)`')
ONE = re.compile(r'(?<![\w./])(' + '|'.join(map(re.escape, keys)) + r')(?![\w/])')
changed = []
for f in subprocess.check_output(['git', 'ls-files'], text=True).split('\n')[:-1]:
    p = Path(f)
    if p.suffix not in ('.py', '.md', '.cfg', '.flags', '.js') and p.name != 'Makefile': continue
    if f.startswith('docs/measured'): continue
    s = p.read_text()
    def tick(m):
        n = ONE.sub(lambda k: short[k[1]], m[1])
        if n != m[1]: changed.append((f, m[1], n))
        return f'`{n}`'
    t = TICK.sub(tick, s)
    if t != s: p.write_text(t)
for c in changed: print(*c)
