"""
A fit on a cluster
==================

Images of a large folder are decoded, looked at and coded block by block, and no block needs another. So the
workers of a Dask cluster can do it: ``pip install 'sparsegen-classic[dask]'`` on every machine. They read the
images themselves, from a file system that all machines see, and the model is the same to the last bit as that
of one machine. Here the machines are two processes of this one, and one of them is killed on the way.
"""

# %%
# Scheduler and workers
# ---------------------
# On a real cluster these are commands on its machines: ``dask scheduler`` on one, and on the others
# ``dask worker tcp://that-one:8786 --nworkers auto --nthreads 1 --memory-limit auto``.
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
from distributed import Client, get_task_stream
from scipy.ndimage import zoom

from sparsegen_classic import KSVD, SparseImageGenerator, image_grid, open_images, save_model, store_images

place = tempfile.TemporaryDirectory(prefix="cluster-")
shared = Path(place.name)  # what all machines see
where = ["--scheduler-file", str(shared / "scheduler.json")]


def start(*command):
    call = [sys.executable, "-m", "dask", *command, *where]
    return subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


processes = [
    start("scheduler", "--no-dashboard", "--port", "0"),
    start("worker", "--no-dashboard", "--nworkers", "2", "--nthreads", "1", "--memory-limit", "1GB"),
]
client = Client(scheduler_file=where[1], timeout=60)
client.wait_for_workers(2, timeout=60)
print(f"{len(client.ncores())} workers, processes {sorted(client.run(os.getpid).values())}")

# %%
# Images where the workers see them
# ---------------------------------
# Digits at three times their size, each in twelve places: 21,564 images in a file. A folder of PNG or JPEG
# files would do as well.
large = zoom(open_images("digits").images, (1, 3, 3), order=1)
shifts = [(dy, dx) for dy in (-1, 0, 1) for dx in (-2, -1, 1, 2)]
moved = np.concatenate([np.roll(large, shift, axis=(1, 2)) for shift in shifts])
np.save(shared / "images.npy", np.rint(255 * np.clip(moved, 0, 1)).astype(np.uint8))

# %%
# Fit
# ---
# ``parallel_config`` is all that it takes. With a checkpoint, what workers have done stays done, also if the
# whole cluster goes. On the command line it is
# ``sparsegen-classic fit images.npy --cluster tcp://that-one:8786 --checkpoint work/ -o model.npz``.


def fit(folder):
    folder.mkdir()
    store = store_images(shared / "images.npy", folder / "images")
    dictionary = KSVD(120, n_nonzero_coefs=8, online=True, max_iter=1)
    generator = SparseImageGenerator(dictionary, random_state=0, n_jobs=-1)
    return generator.fit(store, checkpoint=folder / "fit")


def kill_a_worker(codes, pid):
    while not (codes.is_dir() and len(list(codes.iterdir())) > 5):
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    killed.append(time.time())


killed = []
victim = next(iter(client.run(os.getpid).values()))
killer = threading.Thread(target=kill_a_worker, args=(shared / "there" / "fit" / "model-0" / "codes", victim))
killer.start()
with get_task_stream(client) as stream, joblib.parallel_config(backend="dask", client=client):
    there = fit(shared / "there")
killer.join()
here = fit(shared / "here")

files = [save_model(model, shared / f"{name}.npz") for model, name in ((here, "here"), (there, "there"))]
same = files[0].read_bytes() == files[1].read_bytes()
print(
    f"process {victim} was killed; the model file is {'the same' if same else 'ANOTHER'} as from one machine"
)

# %%
# Who did what
# ------------
# Each bar is a block; a worker's first one of a kind includes loading the kernels. When a worker was killed,
# another did its blocks, until a new one was there.
blocks = sorted(
    (part["start"], part["stop"], task["worker"])
    for task in stream.data
    for part in task["startstops"]
    if part["action"] == "compute"
)
starts, stops = np.array([block[:2] for block in blocks]).T
names = {worker: f"worker {i}" for i, worker in enumerate(dict.fromkeys(block[2] for block in blocks), 1)}
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 2.8), width_ratios=(2, 1), layout="constrained")
left.barh([names[block[2]] for block in blocks], stops - starts, left=starts - starts[0], edgecolor="white")
left.axvline(killed[0] - starts[0], color="tab:red", linestyle="--", label=f"process {victim} is killed")
left.set(xlabel="seconds", title="blocks of images, stored, looked at and coded")
left.legend(loc="lower center")
right.imshow(image_grid(there.sample(40, random_state=0), n_columns=8), cmap="gray")
right.set(title="samples of the model", xticks=[], yticks=[])

# %%
# When it is done
# ---------------
client.close()
for process in reversed(processes):
    process.terminate()
    process.wait()
place.cleanup()
plt.show()
