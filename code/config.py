"""Every setting of the experiment: names bound to literals. `run <tag>` reads this file and never runs it.

A part is {"name": ..., argument: ...}: the choices are at the end of its file, and a wrong name lists them.
"""

epochs = 10
epoch_length = None  # batches of an epoch, for very large data: the next goes on from there; None: a pass over all

data = {  # each set, and the arguments it has: docs/reference/data.md
    "name": "digits",  # 1797 handwritten digits of 8 x 8 pixels, from scikit-learn, offline
    "batch_size": 16,
    "eval_batch_size": 512,  # as large as memory allows; only rounding depends on it
    "split": {  # the same for every run; shares if below 1, else counts
        "val": 0.15,
        "test": 0.15,  # None where the data set comes with its own
        "sample": None,  # 0.1: train on a tenth of the training samples
        "folds": None,  # 5, and val None: val is the fifth of what is not test that has the number `fold`
        "fold": 0,  # 0 to folds - 1
        "stratify": True,  # each has the same mix of classes
        "seed": 0,  # another one, another split; the run's seed does not matter
    },
    "workers": 0,  # processes that read files ahead; 0: data in memory, on the device
}
transform = [  # in this order; behind it {"name": "crop", "padding": 4} and {"name": "flip"}, for training only
    {"name": "normalize", "mean": [0.3053], "std": [0.3761]},  # of each channel, of pixels in 0..1
]

model = {"name": "lenet", "dropout": 0.4}
pretrained = None  # weights to start from: "tag/id", "tag/id@3" (@best, @last), a file; {"from": ..., "only": "body"}
loss = {"name": "cross_entropy", "label_smoothing": 0.0}
metric = [{"name": "acc"}]

optimizer = {"name": "adam", "lr": 0.003, "weight_decay": 0.0}
scheduler = {"name": "cosine_warmup_decay", "peak": 0.3}  # None: a constant learning rate
accumulate = 1  # parts that a batch is computed in, one after the other, where it does not fit into memory
clip = None  # largest norm of the gradient, such as 1.0
amp = None  # mixed precision: "bf16", or "fp16" with a scaled loss for older GPUs
ema = None  # decay of an average of the weights that is evaluated in their place, such as 0.99

compiled = False  # True: by torch.compile; the first batches take a minute, the others less time

monitor = "min val/loss"  # which epoch is best, and tested at the end; None: the last one
early_stop = None  # {"patience": 5, "min_delta": 0.0}: stop after 5 epochs without progress of monitor
checkpoint = {
    "every": 1,  # epochs
    "every_steps": None,  # also within an epoch, for long ones: continuing is exact from either
    "every_minutes": None,
    "keep": 2,  # epochs, None: all; the best, and the newest two files, always stay
    "background": False,  # True: written by a thread, worth it for states of 50 MB and more
}

device = "auto"  # the first GPU, else the CPU; "cpu", "cuda", "cuda:1"
processes = None  # that train together, each its share of every batch; None: one for each GPU, else one
threads = None  # of the CPU, for each process; None: its cores, 8 at most, shared. Another number gives other bits
deterministic = False  # True: the same bits on a GPU too, slower; a CPU gives them anyway

# "picture": history.png; also "mlflow", "wandb", "sacred", "elasticsearch", with arguments: docs/guides/loggers.md
logger = ["tensorboard", "picture"]  # statistic.json and history.jsonl are always written
log_every_steps = None  # n: every n steps also a line in history and a point in TensorBoard; waits for the GPU
# every n steps, also in TensorBoard: weights and gradients, change/weight, outputs, inputs; docs/guides/inspect.md
see = {"histograms": None, "ratios": None, "activations": None, "images": None, "graph": False}
hardware_every_seconds = 10.0  # of CPU, memory, disk, network, GPU, to hardware.jsonl and TensorBoard; None: never
verbose = "batch"  # a progress bar and a line an epoch; "epoch": no bar, as for logs; "quiet": only the result

overfit = None  # n: train, validate and test on the same n samples, of which a right model learns 100 %
debug = False  # True: 2 epochs of 4 batches, with anomaly detection; so does `python code/main.py --debug`

search = None  # {"optimizer.lr": [0.01, 0.003], "model.dropout": [0.2, 0.4]}: for `exper search`; docs/guides/search.md
