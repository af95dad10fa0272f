from pathlib import Path
def sub(path, *pairs):
    p = Path(path); s = p.read_text()
    for a, b in pairs:
        assert a in s, (path, a)
        s = s.replace(a, b)
    p.write_text(s)
sub('tests/project/test_distributed_docs.py', ('ROOT / "bladerunner_ae" / "train_flags.py"', 'ROOT / "bladerunner_ae" / "training" / "flags.py"'))
sub('tests/benchmarks/test_serving.py', ('[sys.executable, str(ROOT / "benchmarks" / "serving.py"), ', '[sys.executable, "-m", "benchmarks.serving", '))
sub('benchmarks/training/__main__.py', ('"training_ours.py"', '"training/ours.py"'), ('"training_torch.py"', '"training/pytorch.py"'))
sub('benchmarks/serving/__main__.py', ('"serving_client.py"', '"serving/client.py"'))
sub('benchmarks/gpu/__main__.py', ('"gpu_worker.py"', '"gpu/worker.py"'))
sub('benchmarks/training/workers.py', ('_HERE = Path(__file__).resolve().parent\n', '_BENCHMARKS = Path(__file__).resolve().parent.parent\n'), ('_HERE / script', '_BENCHMARKS / script'),
    ('"""Processes that `benchmarks/training` asks one thing at a time: a JSON object a line in, one out."""','"""Processes that a benchmark asks one thing at a time: a JSON object a line in, one out."""'))
sub('benchmarks/training/ours.py', ('"""Our side of `benchmarks/training`, in processes of its own: each measures one thing and says it in JSON.', '"""Our side of `benchmarks/training`, in processes of its own.\n\nEach measures one thing and says it in JSON.'))
sub('benchmarks/training/pytorch.py', ('"""The same networks and losses written plainly in PyTorch, as a program that `benchmarks/training` asks.', '"""The same networks and losses written plainly in PyTorch; `benchmarks/training` asks it.'))
