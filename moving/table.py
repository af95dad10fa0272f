"""old path -> new path, from the plan, with what has come since."""
import re, subprocess
from pathlib import Path
PLAN = Path('/work/shared/knowledge/house.md').read_text()
ROWS = re.findall(r'^\| `([^`]+)` \| [^|]*\| (?:`([^`]+)`|=) \|(.*)$', PLAN, re.M)
table = {}
merges = {}
for old, new, rest in ROWS:
    if not (old.endswith(('.py', '.js', '.css', '.html'))): continue
    if not new or new == old: continue
    if 'merge' in rest: merges[old] = new
    else: table[old] = new
# Merged later; until then they lie in the same folder.
M = {
 'bladerunner_ae/background.py': 'bladerunner_ae/film/reading/background.py',
 'bladerunner_ae/data_service.py': 'bladerunner_ae/training/data_service.py',
 'bladerunner_ae/given_flags.py': 'bladerunner_ae/training/given_flags.py',
 'bladerunner_ae/latent_sampler.py': 'bladerunner_ae/model/latent_sampler.py',
 'bladerunner_ae/rasters.py': 'bladerunner_ae/rasters.py',
 'bladerunner_ae/schedules.py': 'bladerunner_ae/objectives/schedules.py',
 'bladerunner_ae/shared_preemption.py': 'bladerunner_ae/training/shared_preemption.py',
 'bladerunner_ae/step_logs.py': 'bladerunner_ae/training/step_logs.py',
 'bladerunner_ae/verification_order.py': 'bladerunner_ae/inspection/verification_order.py',
 'bladerunner_ae/film/brightness.py': 'bladerunner_ae/film/reading/brightness.py',
 'bladerunner_ae/film/changes.py': 'bladerunner_ae/conversion/changes.py',
 'bladerunner_ae/film/promised_bytes.py': 'bladerunner_ae/film/reading/promised_bytes.py',
 'bladerunner_ae/monitoring/probe_frames.py': 'bladerunner_ae/training/monitoring/probe_frames.py',
 'bladerunner_ae/film_memory/dreamer.py': 'bladerunner_ae/exports/dreamer.py',
 'bladerunner_ae/server/ports.py': 'bladerunner_ae/server/ports.py',
 'bladerunner_ae/server/warm_up.py': 'bladerunner_ae/server/warm_up.py',
 'tfrecords/unfinished.py': 'tfrecords/unfinished.py',
}
assert set(merges) == set(M), set(merges) ^ set(M)
table.update({o: n for o, n in M.items() if o != n})
F='bladerunner_ae/film/'
table.update({
 'bladerunner_ae/installed.py': 'bladerunner_ae/command_line/installed.py',
 'bladerunner_ae/run_files.py': 'bladerunner_ae/runs/files.py',
 'bladerunner_ae/temporary_files.py': 'bladerunner_ae/command_line/temporary_files.py',
 'bladerunner_ae/evaluation/choice.py': 'bladerunner_ae/evaluation/choice.py',
 F+'animated_webp.py': F+'images/animated_webp.py',
 F+'images.py': F+'images/folder.py',
 F+'stills.py': F+'images/stills.py',
 F+'still_colours.py': F+'images/colour_profiles.py',
 F+'matrix_profiles.py': F+'images/matrix_profiles.py',
 F+'numbering.py': F+'images/numbering.py',
 F+'name_numbers.py': F+'images/name_numbers.py',
 F+'headers.py': F+'headers/headers.py',
 F+'mp4_headers.py': F+'headers/mp4.py',
 F+'matroska_headers.py': F+'headers/matroska.py',
 F+'ebml.py': F+'headers/ebml.py',
 F+'transport_tables.py': F+'headers/transport_tables.py',
 F+'metadata.py': F+'headers/metadata.py',
 F+'side_data.py': F+'headers/side_data.py',
 F+'claims.py': F+'headers/lengths.py',
 F+'streams.py': F+'reading/streams.py',
 F+'limits.py': F+'picture_limits.py',
 F+'cropping.py': F+'picture/cropping.py',
 F+'direction.py': F+'picture/direction.py',
 F+'ffmpeg.py': F+'writing/ffmpeg.py',
 F+'sound_encoding.py': F+'writing/sound_encoding.py',
})
T='tests/'
table.update({
 'benchmarks/attacks.py': 'benchmarks/attacks/__main__.py',
 'benchmarks/film_judge.py': 'benchmarks/judging/films.py',
 'benchmarks/kept_results.py': 'benchmarks/judging/kept_results.py',
 'benchmarks/real_commands.py': 'benchmarks/judging/commands.py',
 'benchmarks/mp4_boxes.py': 'benchmarks/structure/mp4_boxes.py',
 'benchmarks/measuring.py': 'benchmarks/measuring/__main__.py',
 'benchmarks/sound_codecs.py': 'benchmarks/sound_codecs/__main__.py',
 'benchmarks/sound_codec_films.py': 'benchmarks/sound_codecs/films.py',
 'benchmarks/structure_fuzz.py': 'benchmarks/structure/__main__.py',
 'benchmarks/structure_films.py': 'benchmarks/structure/films.py',
 'benchmarks/structure_judge.py': 'benchmarks/structure/judge.py',
 'benchmarks/structure_recipes.py': 'benchmarks/structure/recipes.py',
})
table.update({
 T+'test_film_changes.py': T+'conversion/test_changes.py',
 T+'test_animated_pictures.py': T+'film/images/test_animated_webp.py',
 T+'test_attacks.py': T+'benchmarks/test_attacks.py',
 T+'test_damaged_json.py': T+'runs/test_damaged_json.py',
 T+'test_film_direction.py': T+'film/picture/test_direction.py',
 T+'test_film_headers.py': T+'film/headers/test_headers.py',
 T+'test_film_judge.py': T+'benchmarks/test_judging.py',
 T+'test_film_metadata.py': T+'film/headers/test_metadata.py',
 T+'test_film_own_streams.py': T+'film/reading/test_own_streams.py',
 T+'test_image_order.py': T+'film/images/test_numbering.py',
 T+'test_installed.py': T+'command_line/test_installed.py',
 T+'test_long_names.py': T+'commands/test_long_names.py',
 T+'test_measuring.py': T+'evaluation/test_measured_share.py',
 T+'test_run_files.py': T+'runs/test_files.py',
 T+'test_server_bodies.py': T+'server/test_bodies.py',
 T+'test_server_browsers.py': T+'server/test_browsers.py',
 T+'test_server_limits.py': T+'server/test_limits.py',
 T+'test_sound_as_people_have_it.py': T+'film/writing/test_sound_as_people_have_it.py',
 T+'test_stills.py': T+'film/images/test_stills.py',
 T+'test_system_failures.py': T+'tfrecords/test_system_failures.py',
 T+'test_temporary_files.py': T+'command_line/test_temporary_files.py',
 T+'mp4_patches.py': T+'helpers/mp4_patches.py',
 T+'parameters.py': T+'helpers/parameters.py',
})
if __name__ == '__main__':
    files = set(subprocess.check_output(['git','-C','/work/main','ls-files'],text=True).split('\n'))
    for o in sorted(table):
        if o not in files: print('gone:', o)
    for f in sorted(files):
        if f.endswith('.py') and f.startswith('tests/test_') and f not in table: print('no row:', f)
        if re.match(r'bladerunner_ae/[a-z_]+\.py$', f) and f not in table: print('stays in root:', f)
    import collections
    c=collections.Counter(table.values()); print([k for k,v in c.items() if v>1])
