"""Every option of a run, with its default and what it means. The files in `configs/` start from here.

Options are plain values, so that `--config.section.field=value` can set any of them; a config is locked, so that a
misspelt name is refused. (Typed Any, since a type checker cannot know their fields.)
"""

from typing import Any

from ml_collections import ConfigDict

from zsl_jax.errors import InputError


def data() -> Any:
    """Where the data come from and how they are prepared."""
    config: Any = ConfigDict()
    config.source = "xlsa17"  # xlsa17 | digits | synthetic
    config.root = ""  # folder of the data sets; empty: the environment variable ZSL_JAX_DATA
    config.dataset = "AWA2"  # folder below the root
    config.features = "ce_ce"  # file of x
    config.representations = "con_paco"  # file of r; empty: none (a fine-tuning stage must make it)
    config.labels = "res101"  # file with the labels, where the feature file has none
    config.semantics = "att"  # <semantics>_splits.mat
    config.original_semantics = True  # take original_att where the file has it (digits: 0..1 as written, else signed)
    config.normalize_semantics = True  # L2-normalise the semantics of each class
    config.percent = 100  # training rows kept, by split_<percent>percent.mat
    config.scaling = "minmax"  # minmax (then divided by the training maximum) | standard | none
    config.validation_fraction = 0.2  # rows of training classes held out as "seen" in the validation run
    config.validation_classes = 0  # classes held out as "unseen" in the validation run; 0: as the split says
    config.unseen = (3, 6, 8)  # digits only: unseen classes
    config.synthetic = synthetic()
    return config


def synthetic() -> Any:
    """Sizes of a synthetic data set."""
    config: Any = ConfigDict()
    config.preset = ""  # a published data set's sizes, e.g. AWA2; empty: the sizes below
    config.seen = 8
    config.unseen = 4
    config.a_dim = 12
    config.x_dim = 32
    config.r_dim = 16
    config.trainval = 800
    config.test_seen = 200
    config.test_unseen = 200
    config.noise = 1.0  # standard deviation within a class
    config.splits_root = ""  # folder with the preset's real split file; empty: drawn
    return config


def finetune_x() -> Any:
    """A stage that fine-tunes raw features with cross-entropy; its rectified hidden layer becomes x."""
    config: Any = ConfigDict()
    config.epochs = 40
    config.eval_every = 1
    config.patience = 5  # evaluations without a lower held-out loss before stopping
    config.holdout = 0.1  # share of the training rows that early stopping looks at
    config.scaling = "standard"  # of the raw features: minmax | standard | none
    config.batch_size = 128
    config.hidden = ()  # widths of layers before the embedding
    config.width = 512  # of the embedding
    config.optimiser = "adam"  # adam | sgd
    config.lr = 1e-3
    config.momentum = 0.9  # of SGD; b1 of Adam
    config.weight_decay = 0.1
    config.label_smoothing = 0.2
    config.input_noise = 0.5  # standard deviation added to the scaled input
    config.input_dropout = 0.2
    config.embedding_dropout = 0.5
    return config


def finetune_r() -> Any:
    """A stage that fine-tunes raw features by parametric contrastive learning; its rectified embedding becomes r."""
    config = finetune_x()
    del config.label_smoothing
    config.width = 256
    config.weight_decay = 1e-4
    config.paco = ConfigDict()
    config.paco.alpha = 0.05  # weight of a positive sample
    config.paco.beta = 1.0  # weight of the own class centre
    config.paco.gamma = 1.0  # weight of the samples in the denominator
    config.paco.temperature = 0.2
    config.paco.centre_temperature = 1.0
    config.paco.queue = 1024  # keys remembered; a multiple of batch_size, or 0
    config.paco.momentum = 0.999  # of the key encoder
    config.paco.dim = 64  # of the contrasted projection
    return config


def diffusion_stage() -> Any:
    """What both stages of ZeroDiff share. A dimension of 0 means the semantics' width."""
    config: Any = ConfigDict()
    config.epochs = 300  # one epoch: ceil(training rows / batch_size) iterations
    config.batch_size = 64
    config.critic_iter = 5  # critic updates for each generator update
    config.n_steps = 4  # T
    config.beta_min = 0.1
    config.beta_max = 20.0
    config.schedule = "variance_preserving"  # variance_preserving | linear
    config.z_dim = 0  # latent noise
    config.time_dim = 0  # sinusoids of the timestep
    config.embed_dim = 0  # the generator's embeddings of t (and r)
    config.generator_width = 4096
    config.critic_width = 4096
    config.decoder_width = 4096
    config.lr = 1e-4
    config.dec_lr = 1e-4
    config.penalty_weight = 10.0  # lambda
    config.gamma_x0 = 1.0
    config.gamma_xt = 1.0
    config.syn_num = 400  # synthetic rows of each unseen class
    config.classifier_lr = 1e-3
    return config


def run(method: str) -> Any:
    """What every run has, whatever its method: the caller names its stages and adds a section of options for each."""
    config: Any = ConfigDict()
    config.method = method
    config.seed = 0
    config.stages = ()
    config.stage = ""  # first stage to run; earlier ones are taken from the workdir
    config.validate = True  # also train on a validation task, so that nothing needs choosing on the test set
    config.upstream = "validated"  # which state of a stage the next one gets: validated | last | oracle
    config.matmul_precision = "default"  # default | high | highest | bfloat16 (on GPUs the default multiplies in TF32)
    config.compilation_cache = ""  # folder in which compiled programs outlive the process; it must be trusted
    config.log_every = 20  # iterations: one line of metrics.jsonl, one compiled call
    config.checkpoint_every = 0  # epochs; 0: with each evaluation
    config.figures = True
    config.parallel = ConfigDict()
    config.parallel.devices = 1  # over which each batch is split; 0: all (of all processes, if there are several)
    config.parallel.mode = "sharded"  # sharded | pmap
    config.data = data()
    config.finetune_x = finetune_x()
    config.finetune_r = finetune_r()
    config.eval = evaluation()
    return config


def evaluation() -> Any:
    """When and how a run is scored."""
    config: Any = ConfigDict()
    config.first = 0  # first epoch (0-based) that is evaluated; the last one always is
    config.every = 10  # epochs
    config.select = "AUSUC"  # what validation maximises: AUSUC | H (as published; near 0 where features are weak)
    config.classifier_epochs = 25
    config.classifier_batch = 0  # 0: syn_num, as published
    config.spaces = ("V", "VS", "C", "VC", "VCS")
    config.samplers = ("one_step", "progressive")
    config.chunk_rows = 4096
    config.memory_mb = 8192  # feature tables larger than this are made batch by batch
    return config


def zerodiff() -> Any:
    """ZeroDiff with the hyper-parameters that its published configurations share."""
    config = run("zerodiff")
    config.stages = ("drg", "dfg")
    config.drg = diffusion_stage()
    config.drg.feed = "current"  # what R is fed in training: current (r_t, as published) | following (r_{t+1})
    config.dfg = diffusion_stage()
    config.dfg.encoder_width = 4096
    config.dfg.embed_type = "VA"  # the encoder sees x and a (VA) or x alone (V)
    config.dfg.gamma_adv = 10.0
    config.dfg.gamma_vae = 1.0
    config.dfg.gamma_recons = 1.0
    config.dfg.gamma_xc = 1.0
    config.dfg.gamma_dist = 1.0
    config.dfg.factor_dist = 1.5
    config.dfg.freeze_decoder = False
    config.dfg.use_r = True  # False: an ablation, in which G and the x_t critic don't see r
    config.dfg.x0_gates_xt = True  # as published: gamma_x0 = 0 also drops the real x_t term
    for stage in (config.drg, config.dfg):
        stage.normalize_decoder = config.data.get_ref("normalize_semantics")
    return config


def keep_percent(config: Any, percent: str, drg_syn_num: dict[str, int], dfg_syn_num: dict[str, int]) -> None:
    """Sets the share of training rows that a config's argument asks for, and the synthetic rows published for it.

    Args:
      config: configuration to change.
      percent: the argument, e.g. "30"; "" means "100".
      drg_syn_num, dfg_syn_num: synthetic rows of each unseen class, by share.

    Raises:
      InputError: there is no such share.
    """
    share = percent or "100"
    if share not in drg_syn_num:
        raise InputError(f"config argument {percent!r}: the published shares are {', '.join(drg_syn_num)}")
    config.data.percent = int(share)
    config.drg.syn_num = drg_syn_num[share]
    config.dfg.syn_num = dfg_syn_num[share]
