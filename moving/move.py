"""Moves files by the table and rewrites what names them. Run in the root of a clean clone."""
import ast, re, subprocess, sys
from pathlib import Path
sys.path.insert(0, '/work/tmp/house')
from table import table
ROOT = Path('.')
def git(*a): return subprocess.check_output(['git', *a], text=True)
FILES = git('ls-files').split('\n')[:-1]
table = {o: n for o, n in table.items() if o in FILES and o != n}
def module(path):
    p = path[:-3]
    if p.endswith('/__init__'): p = p[:-9]
    return p.replace('/', '.')
MODS = {}
for o, n in table.items():
    if o.endswith('.py'): MODS[module(o)] = module(n)
# modules that become packages' __main__ are run by name of the package
OLD = {module(f) for f in FILES if f.endswith('.py')}

def new_module(name):
    """New dotted name of an old module or of something in it."""
    parts = name.split('.')
    for k in range(len(parts), 0, -1):
        head = '.'.join(parts[:k])
        if head in MODS: return '.'.join([MODS[head], *parts[k:]])
    return name

def rewrite_from(node, text):
    """Statements in place of a `from` import."""
    base = node.module
    out = {}
    order = []
    def add(mod, piece):
        if mod not in out: out[mod] = []; order.append(mod)
        out[mod].append(piece)
    for a in node.names:
        full = f'{base}.{a.name}'
        if full in OLD:                       # a submodule
            new = new_module(full)
            parent, _, leaf = new.rpartition('.')
            asname = a.asname or (a.name if leaf != a.name else None)
            if leaf == '__main__' and False: pass
            add(parent, leaf + (f' as {asname}' if asname and asname != leaf else ''))
        else:
            add(new_module(base), a.name + (f' as {a.asname}' if a.asname else ''))
    return [f'from {m} import {", ".join(out[m])}' for m in order]

def rewrite_py(path):
    src = path.read_text()
    try: tree = ast.parse(src)
    except SyntaxError: return
    lines = src.split('\n')
    kept = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom): kept |= set(range(node.lineno - 1, node.end_lineno))
    lines = [line if i in kept else rewrite_names(line) for i, line in enumerate(lines)]
    edits = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0 and node.module.split('.')[0] in ('bladerunner_ae','tfrecords','tests','benchmarks','tools'):
            new = rewrite_from(node, src)
            old = ast.unparse(node)
            if new != [old]:
                indent = lines[node.lineno-1][:node.col_offset]
                segment = '\n'.join(lines[node.lineno-1:node.end_lineno])
                comment = re.search(r'  # (noqa.*|fmt.*|type:.*)$', segment)
                tail = f'  # {comment.group(1)}' if comment else ''
                edits.append((node.lineno-1, node.end_lineno, [indent + n + tail for n in new]))
    for a, b, new in sorted(edits, reverse=True):
        lines[a:b] = new
    text = '\n'.join(lines)
    depth = DEPTH.get(str(path), 0)
    if depth:
        text = re.sub(r'(Path\(__file__\)(?:\.resolve\(\))?(?:\.parent){2,})', lambda m: m[1] + '.parent' * depth, text)
    path.write_text(text)

DEPTH = {n: n.count('/') - o.count('/') for o, n in table.items()}
NAMES = sorted(MODS, key=len, reverse=True)
DOTTED = re.compile(r'(?<![\w./])(' + '|'.join(re.escape(n) for n in NAMES) + r')(?![\w])(?!\.py\b)')
def rewrite_names(text):
    """Dotted names in strings, messages and imports of whole modules."""
    return DOTTED.sub(lambda m: MODS[m[1]], text)
PATHS = re.compile(r'(?<![\w/.])(' + '|'.join(re.escape(o) for o in sorted(table, key=len, reverse=True)) + r')(?![\w])')
RUN = re.compile(r'(python3?|\.venv/bin/python|\$\(python\)) benchmarks/(\w+)\.py')
def rewrite_paths(text):
    def run(m):
        new = table.get(f'benchmarks/{m[2]}.py')
        return f"{m[1]} -m {module(new)}".removesuffix('.__main__') if new else m[0]
    text = RUN.sub(run, text)
    return PATHS.sub(lambda m: table[m[1]], text)

if __name__ == '__main__':
    for o, n in table.items():
        Path(n).parent.mkdir(parents=True, exist_ok=True)
        git('mv', o, n)
    for n in list(table.values()):
        if n.endswith('.py'):
            for d in Path(n).parents:
                if str(d) == '.': break
                init = d / '__init__.py'
                if not init.exists() and not (d.name in ('page', 'page_files')):
                    init.write_text(''); git('add', str(init))
    for f in git('ls-files').split('\n')[:-1]:
        p = Path(f)
        if not p.is_file() or p.suffix in ('.png', '.gif', '.jpg', '.ico', '.woff2'): continue
        try: text = p.read_text()
        except UnicodeDecodeError: continue
        if f.endswith('.py'): rewrite_py(p)
        new = rewrite_paths(rewrite_names(p.read_text())) if not f.endswith('.py') else rewrite_paths(p.read_text())
        if new != p.read_text(): p.write_text(new)
