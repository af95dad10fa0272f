"""split.py SRC TARGET NAME...: moves definitions to another module and rewrites who imports them."""
import ast, re, subprocess, sys
from pathlib import Path
def path_of(mod): return Path(mod.replace('.', '/') + '.py')
def move(src, target, names, header=None):
    sp, tp = path_of(src), path_of(target)
    text = sp.read_text(); lines = text.split('\n'); tree = ast.parse(text)
    spans = []
    for node in tree.body:
        n = getattr(node, 'name', None)
        if isinstance(node, ast.Assign): n = node.targets[0].id if isinstance(node.targets[0], ast.Name) else None
        if isinstance(node, ast.AnnAssign): n = node.target.id
        if n in names:
            a = min([node.lineno, *[d.lineno for d in getattr(node, 'decorator_list', [])]]) - 1
            while a and lines[a-1].startswith('#'): a -= 1
            spans.append((a, node.end_lineno, n))
    assert {s[2] for s in spans} == set(names), set(names) - {s[2] for s in spans}
    moved = ['\n'.join(lines[a:b]) for a, b, _ in spans]
    for a, b, _ in sorted(spans, reverse=True): del lines[a:b]
    sp.write_text('\n'.join(lines))
    if tp.exists(): tp.write_text(tp.read_text().rstrip('\n') + '\n\n\n' + '\n\n\n'.join(moved) + '\n')
    else:
        tp.parent.mkdir(parents=True, exist_ok=True)
        tp.write_text((header or '') + '\n' + '\n\n\n'.join(moved) + '\n')
    for f in subprocess.check_output(['git', 'ls-files', '-co', '--exclude-standard', '*.py'], text=True).split():
        p = Path(f)
        if not p.exists() or p == tp: continue
        s = p.read_text(); t = ast.parse(s); L = s.split('\n'); edits = []; aliases = set()
        for node in ast.walk(t):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                if node.module == src:
                    hit = [a for a in node.names if a.name in names]; rest = [a for a in node.names if a.name not in names]
                    if hit:
                        ind = L[node.lineno-1][:node.col_offset]
                        fmt = lambda m, A: f"{ind}from {m} import {', '.join(a.name + (f' as {a.asname}' if a.asname else '') for a in A)}"
                        edits.append((node.lineno-1, node.end_lineno, ([fmt(src, rest)] if rest else []) + [fmt(target, hit)]))
                else:
                    for a in node.names:
                        if f'{node.module}.{a.name}' == src: aliases.add(a.asname or a.name)
        for a, b, new in sorted(edits, reverse=True): L[a:b] = new
        s = '\n'.join(L)
        for al in aliases:
            used = {m for m in re.findall(rf'(?<![\w.]){al}\.(\w+)', s) if m in names}
            if used:
                print('alias', f, al, used)
                s = re.sub(rf'(?<![\w.]){al}\.({"|".join(used)})\b', r'\1', s)
                i = next(m.start() for m in re.finditer(rf'^(from|import) ', s, re.M))
                s = s[:i] + f"from {target} import {', '.join(sorted(used))}\n" + s[i:]
            if re.search(rf'setattr\({al}, "({"|".join(names)})"', s): print('SETATTR', f)
        s = re.sub(rf'(?<![\w.]){re.escape(src)}\.({"|".join(names)})\b', rf'{target}.\1', s)
        if s != p.read_text(): p.write_text(s)
if __name__ == '__main__': move(sys.argv[1], sys.argv[2], sys.argv[3:])
