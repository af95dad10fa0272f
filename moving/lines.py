from pathlib import Path
def sub(path, *pairs):
    p = Path(path); s = p.read_text()
    for a, b in pairs:
        assert a in s, (path, a)
        s = s.replace(a, b)
    p.write_text(s)
sub('bladerunner_ae/objectives/broad2016.py', ("and the encoder's and decoder's lists were swapped. `tests/objectives/test_original_bugs.py` shows both.", "and the encoder's and decoder's lists were swapped.\n`tests/objectives/test_original_bugs.py` shows both."))
sub('tests/commands/test_reassemble_film.py', ("""        "heavy = ('keras', 'tensorflow', 'bladerunner_ae.model.networks', 'bladerunner_ae.objectives.losses',\\n"
        "         'bladerunner_ae.training.trainer', 'bladerunner_ae.train', 'bladerunner_ae.objectives')\\n"
""", """        "heavy = ('keras', 'tensorflow', 'bladerunner_ae.model.networks',\\n"
        "         'bladerunner_ae.objectives.losses', 'bladerunner_ae.training.trainer',\\n"
        "         'bladerunner_ae.train', 'bladerunner_ae.objectives')\\n"
"""))
sub('tests/conftest.py', ('"""Returns a runner of our commands that imports TensorFlow once; see `tests.helpers.commands`."""', '"""Returns a runner of our commands that imports TensorFlow once: `tests.helpers.commands`."""'),
 ('"""Returns RUN/export of untrained networks, version 1 of each; see `tests.helpers.tiny_exports`.', '"""Returns RUN/export of untrained networks, version 1 of each: `tests.helpers.tiny_exports`.'))
sub('tests/project/test_packaging.py', ('''        "import sys, bladerunner_ae, bladerunner_ae.command_line.app, bladerunner_ae.command_line.progress, tfrecords;"
''','''        "import sys, bladerunner_ae, bladerunner_ae.command_line.app;"
        "import bladerunner_ae.command_line.progress, tfrecords;"
'''))
