"""merge(src, target, rename={}): all of a module goes into another; importers follow."""
import ast, re, subprocess
from pathlib import Path
def path_of(mod): return Path(mod.replace('.', '/') + '.py')
def names_of(tree):
    out = set()
    for n in tree.body:
        if hasattr(n, 'name'): out.add(n.name)
        if isinstance(n, ast.Assign): out |= {t.id for t in n.targets if isinstance(t, ast.Name)}
        if isinstance(n, ast.AnnAssign): out.add(n.target.id)
    return out
def merge(src, target, rename=None, note=None):
    rename = rename or {}
    sp, tp = path_of(src), path_of(target)
    st, tt = sp.read_text(), tp.read_text()
    for a, b in rename.items(): st = re.sub(rf'(?<![\w.]){a}\b', b, st)
    stree, ttree = ast.parse(st), ast.parse(tt)
    both = names_of(stree) & names_of(ttree)
    assert not both, (src, both)
    SL, TL = st.split('\n'), tt.split('\n')
    imports, last = [], 0
    for n in stree.body:
        if isinstance(n, ast.Import | ast.ImportFrom):
            if not (isinstance(n, ast.ImportFrom) and n.module == target): imports += SL[n.lineno-1:n.end_lineno]
            last = n.end_lineno
        elif isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) and n is stree.body[0]: last = n.end_lineno
    body = '\n'.join(SL[last:]).strip('\n')
    tlast = 0
    for n in ttree.body:
        if isinstance(n, ast.Import | ast.ImportFrom): tlast = n.end_lineno
        elif isinstance(n, ast.Expr) and n is ttree.body[0]: tlast = n.end_lineno
    # what the target imported from the source
    drop = set()
    for n in ttree.body:
        if isinstance(n, ast.ImportFrom) and n.module == src: drop |= set(range(n.lineno-1, n.end_lineno))
    top = [l for i, l in enumerate(TL[:tlast]) if i not in drop]
    tp.write_text('\n'.join(top) + '\n' + '\n'.join(imports) + '\n' + '\n'.join(TL[tlast:]).rstrip('\n') + '\n\n\n' + body + '\n')
    sp.unlink()
    spkg, _, sleaf = src.rpartition('.'); tpkg, _, tleaf = target.rpartition('.')
    for f in subprocess.check_output(['git', 'ls-files', '-co', '--exclude-standard', '*.py'], text=True).split():
        p = Path(f)
        if not p.exists(): continue
        s = p.read_text(); t = ast.parse(s); L = s.split('\n'); edits = []
        for n in ast.walk(t):
            if not isinstance(n, ast.ImportFrom) or n.level: continue
            ind = L[n.lineno-1][:n.col_offset]
            if n.module == src:
                if p == tp: edits.append((n.lineno-1, n.end_lineno, []))
                else: edits.append((n.lineno-1, n.end_lineno, [ind + f"from {target} import " + ', '.join(a.name + (f' as {a.asname}' if a.asname else '') for a in n.names)]))
            elif n.module == spkg and any(a.name == sleaf for a in n.names):
                rest = [a for a in n.names if a.name != sleaf]; hit = next(a for a in n.names if a.name == sleaf)
                al = hit.asname or sleaf
                new = [ind + f"from {spkg} import " + ', '.join(a.name + (f' as {a.asname}' if a.asname else '') for a in rest)] if rest else []
                new.append(ind + f"from {tpkg} import {tleaf}" + (f" as {al}" if al != tleaf else ''))
                edits.append((n.lineno-1, n.end_lineno, new))
        for a, b, new in sorted(edits, reverse=True): L[a:b] = new
        s2 = '\n'.join(L)
        s2 = re.sub(rf'(?<![\w.]){re.escape(src)}(?!\w)', target, s2)
        if s2 != s: p.write_text(s2)
