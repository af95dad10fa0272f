import sys; sys.path.insert(0,'/work/tmp/house')
from merge import merge
B='bladerunner_ae.'
for src, target, rename in [
 ('rasters','geometry',{}),
 ('training.data_service','training.batches',{'_SECONDS':'_SERVICE_SECONDS'}),
 ('training.given_flags','training.flags',{}),
 ('model.latent_sampler','model.latent_density',{}),
 ('objectives.schedules','objectives.base',{}),
 ('training.shared_preemption','training.stopping',{}),
 ('training.step_logs','training.logs',{}),
 ('inspection.verification_order','inspection.verify',{}),
 ('film.reading.brightness','film.reading.bars',{}),
 ('conversion.changes','conversion.watches',{}),
 ('film.reading.promised_bytes','film.reading.completeness',{}),
 ('training.monitoring.probe_frames','training.monitoring.probes',{}),
 ('exports.dreamer','exports.loading',{}),
 ('server.ports','server.connections',{}),
 ('server.warm_up','server.saved_model',{}),
 ('film.reading.background','film.reading.threads',{'_PATIENCE_SECONDS':'_BACKGROUND_PATIENCE_SECONDS','Item':'Done'}),
]:
    try: merge(B+src,B+target,rename); print('ok',src)
    except AssertionError as e: print('NO', e)
try: merge('tfrecords.unfinished','tfrecords.publication'); print('ok')
except AssertionError as e: print('NO', e)
