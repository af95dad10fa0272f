import importlib, sys, pkgutil
import bladerunner_ae, tfrecords
for pkg in (bladerunner_ae, tfrecords):
    for m in pkgutil.walk_packages(pkg.__path__, pkg.__name__+'.'):
        try: importlib.import_module(m.name)
        except ModuleNotFoundError as e: print(m.name, e)
        except Exception as e: print('BAD', m.name, type(e).__name__, e)
