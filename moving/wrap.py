import subprocess, re
from pathlib import Path
out = subprocess.run(['/work/main/.venv/bin/ruff','check','.','--output-format=concise','--select','E501'],capture_output=True,text=True).stdout
jobs = [(m[1], int(m[2])) for m in re.finditer(r'^(\S+?):(\d+):\d+: E501', out, re.M)]
for f, n in sorted(jobs, key=lambda j: (j[0], -j[1])):
    p = Path(f); L = p.read_text().split('\n'); i = n - 1
    line = L[i]
    ind = re.match(r'\s*', line)[0]
    hash_ = '# ' if line.strip().startswith('# ') else ''
    cut = line.rfind(' ', 0, 100)
    head, rest = line[:cut], line[cut+1:]
    nxt = L[i+1] if i + 1 < len(L) else ''
    nind = re.match(r'\s*', nxt)[0]
    one = line.strip().startswith('"""') and line.rstrip().endswith('"""') and len(line.strip()) > 6
    if one:
        L[i:i+1] = [head, ind + rest[:-3], ind + '"""']
    elif line.strip().startswith('"""') and not nxt.strip():
        L[i:i+1] = [head, ind + rest]
    elif nxt.strip() and len(nind) >= len(ind) and '"""' not in nxt and not re.match(r'\s*\w+: ', nxt) and (bool(hash_) == nxt.strip().startswith('#')):
        text = nxt.strip().removeprefix('# ') if hash_ else nxt.strip()
        new = nind + hash_ + rest + ' ' + text
        if len(new) > 100:
            c = new.rfind(' ', 0, 100)
            L[i:i+2] = [head, new[:c], nind + hash_ + new[c+1:]]
        else: L[i:i+2] = [head, new]
    else:
        deeper = '    ' if re.match(r'\s*\w+: ', line) and not hash_ else ''
        L[i:i+1] = [head, ind + deeper + hash_ + rest]
    p.write_text('\n'.join(L))
