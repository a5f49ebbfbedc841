"""Segmentation of shapes by U-Net: cp code/examples/shapes/config.py code/config.py; docs/tutorial/segmentation.md.

A component is {"name": ..., argument: ...}. Its choices are in the dict at the end of its file, such as MODEL in
code/model/__init__.py; a wrong name lists them.
"""

epochs = 12
epoch_length = None  # batches of an epoch, for very large data: the next goes on from there; None: a pass over all

data = {  # other data sets and their arguments: docs/reference/data.md
    "name": "carvana",  # images/x.jpg with a mask masks/x_mask.gif each
    "path": "shapes",  # in __data__, made by: python code/examples/shapes/make.py
    "size": [64, 64],  # height, width in pixels: images are scaled and cut to it
    "channels": 3,  # 1: grey
    "classes": 1,  # 1: a pixel of a mask is 1 where it is not black; more: it is the number of a class
    "batch_size": 8,  # images a step; when you change it, change optimizer.lr too
    "eval_batch_size": 90,  # as large as memory allows; only rounding depends on it
    "cache": True,  # read files once, into memory; False for data sets that do not fit there
    "split": {  # the same for every run; shares if below 1, else counts
        "val": 0.15,
        "test": 0.15,  # None where the data set comes with a test set
        "sample": None,  # 0.1: train on a tenth of the training samples, for quick experiments
        "folds": None,  # 5, with val = None: cross-validation; val is a fifth of what is not test
        "fold": 0,  # which fold is val: 0 to folds - 1
        "stratify": False,  # masks give an image no class of its own
        "seed": 0,  # of the split alone: another one gives another split, the run's seed does not
    },
    "workers": 0,  # processes that read files ahead; with cache there is nothing to read
}
transform = [  # in this order; flips are for training alone, and a mask moves with its image
    {"name": "flip"},
    {"name": "vertical_flip"},
    {"name": "normalize", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},  # of each channel, for pixels in 0..1
]

model = {"name": "unet", "width": 8}  # channels of the first level; 32 and more for photographs
pretrained = None  # weights to start from: "tag/id", "tag/id@3" (@best, @last), a file; {"from": ..., "only": "body"}
loss = {"name": "bce_dice"}  # a list of components is their sum
metric = [{"name": "dice"}, {"name": "iou"}]  # computed on train, val and test after each epoch

optimizer = {"name": "adam", "lr": 0.005, "weight_decay": 0.0}  # lr: lower where the loss jumps, higher where it crawls
scheduler = {"name": "cosine_warmup_decay", "peak": 0.3}  # peaks after 30 % of the steps; None: a constant rate
accumulate = 1  # slices of a batch, computed one after the other: more where a batch does not fit into memory
clip = None  # largest norm of the gradient, such as 1.0 where the loss jumps
amp = None  # mixed precision, faster on GPUs: "bf16", or "fp16" with a scaled loss for older ones
ema = None  # decay of an average of the weights that is evaluated in their place, such as 0.99 for noisy training

compiled = False  # True: torch.compile; worth it for long runs, as the first batches take a minute

monitor = "max val/dice"  # the metric whose best epoch is tested at the end; None: the last epoch is
early_stop = None  # {"patience": 5, "min_delta": 0.0}: stop after 5 epochs without progress of monitor
checkpoint = {
    "every": 1,  # epochs
    "every_steps": None,  # also within an epoch, for long ones: continuing is exact from either
    "every_minutes": None,
    "keep": 2,  # epochs; None: all. The best, and the newest two files, always stay
    "background": False,  # True: written by a thread; worth it for states of 50 MB and more
}

device = "auto"  # the first GPU, else the CPU; or "cpu", "cuda", "cuda:1"
processes = None  # that share each batch; None: one for each GPU, else one
threads = None  # of the CPU, for each process; None: its cores, 8 at most, shared. Another number gives other bits
deterministic = False  # True: the same bits on a GPU too, slower; a CPU gives them anyway

# "picture": history.png; also "mlflow", "wandb", "sacred", "elasticsearch", with arguments: docs/guides/loggers.md
logger = ["tensorboard", "picture"]  # statistic.json and history.jsonl are always written
log_every_steps = None  # n: every n steps also a line in history and a point in TensorBoard; waits for the GPU
# n: every n steps also in TensorBoard: weights and gradients, change/weight, layers' outputs, inputs;
# docs/guides/inspect.md
see = {"histograms": None, "ratios": None, "activations": None, "images": None, "graph": False}
hardware_every_seconds = 10.0  # of CPU, memory, disk, network, GPU, to hardware.jsonl and TensorBoard; None: never
verbose = "batch"  # a progress bar and a line an epoch; "epoch": no bar, as for logs; "quiet": only the result

overfit = None  # n: train, validate and test on the same n samples, of which a correct model learns 100 %
debug = False  # True: 2 epochs of 4 batches, with anomaly detection; so does `python code/main.py --debug`

search = None  # {"optimizer.lr": [0.01, 0.003], "data.batch_size": [8, 16]}: for `exper search`; docs/guides/search.md
