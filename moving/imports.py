import ast, sys
from pathlib import Path
LAYERS = [["tfrecords"], ["errors","geometry","rasters","output_files","disk_space","protocol"], ["pictures"], ["command_line"], ["film"], ["conversion","inspection"], ["runs"], ["model"], ["objectives","exports"], ["evaluation","server","reassembly"], ["memory_report"], ["training"], ["train","export","evaluate","report","serve","client"]]
rank={n:i for i,l in enumerate(LAYERS) for n in l}
def room(mod):
    p=mod.split('.')
    return p[0] if p[0]=='tfrecords' else (p[1] if len(p)>1 else None)
bad={}
for f in sorted([*Path('bladerunner_ae').rglob('*.py'),*Path('tfrecords').rglob('*.py')]):
    me=room('.'.join(f.with_suffix('').parts))
    for n in ast.walk(ast.parse(f.read_text())):
        mods=[]
        if isinstance(n,ast.ImportFrom) and n.module: mods=[f'{n.module}.{a.name}' for a in n.names]
        if isinstance(n,ast.Import): mods=[a.name for a in n.names]
        for m in mods:
            if m.split('.')[0] in('bladerunner_ae','tfrecords'):
                r=room(m)
                if r in rank and me in rank and r!=me and rank[r]>=rank[me]: bad.setdefault((me,r),set()).add((str(f),m,'in function' if n.col_offset else ''))
for k,v in sorted(bad.items()):
    print(k)
    for x in sorted(v): print('    ',*x)
