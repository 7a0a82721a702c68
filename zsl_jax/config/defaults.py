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
    config.semantics_scaling = "l2"  # l2 | maximum | standard | none | validated: the best for ESZSL on validation
    config.percent = 100  # training rows kept, by split_<percent>percent.mat
    config.scaling = "minmax"  # minmax (then divided by the training maximum) | standard | none
    config.validation_fraction = 0.2  # rows of training classes held out as "seen" in the validation run
    config.validation_classes = 0  # classes held out as "unseen" in the validation run; 0: as the split says
    config.validation_draws = 0  # validation runs, each with other classes held out; 0: 3 if these are fewer than 10
    config.unseen = (3, 6, 8)  # digits only: unseen classes
    config.pictures = False  # digits only: also as pictures, the view "image"
    config.synthetic = synthetic()
    return config


def synthetic() -> Any:
    """Sizes of a synthetic data set."""
    config: Any = ConfigDict()
    config.preset = ""  # a published data set's sizes, e.g. AWA2; empty: the sizes below
    config.seen = 8  # seen classes
    config.unseen = 4  # unseen classes
    config.a_dim = 12  # numbers that describe a class
    config.x_dim = 32  # numbers of a feature x
    config.r_dim = 16  # numbers of a representation r; 0: none
    config.trainval = 800  # training rows
    config.test_seen = 200  # test rows of seen classes
    config.test_unseen = 200  # test rows of unseen classes
    config.noise = 1.0  # standard deviation within a class
    config.splits_root = ""  # folder with the preset's real split file; empty: drawn
    return config


def finetune_x() -> Any:
    """A stage that fine-tunes raw features with cross-entropy; its rectified hidden layer becomes x."""
    config: Any = ConfigDict()
    config.epochs = 40  # at the most
    config.eval_every = 1  # epochs between looks at the held-out loss
    config.patience = 5  # evaluations without a lower held-out loss before stopping
    config.holdout = 0.1  # share of the training rows that early stopping looks at
    config.scaling = "standard"  # of the raw features: minmax | standard | none
    config.batch_size = 128  # rows of a batch
    config.hidden = ()  # widths of layers before the embedding
    config.width = 512  # of the embedding
    config.optimiser = "adam"  # adam | sgd
    config.lr = 1e-3  # learning rate
    config.momentum = 0.9  # of SGD; b1 of Adam
    config.weight_decay = 0.1  # of Adam, decoupled; of SGD, added to the gradient
    config.label_smoothing = 0.2  # share of the target that is spread over all classes
    config.input_noise = 0.5  # standard deviation added to the scaled input
    config.input_dropout = 0.2  # share of the input that is dropped
    config.embedding_dropout = 0.5  # share of the embedding that is dropped
    return config


def finetune_r() -> Any:
    """A stage that fine-tunes raw features by parametric contrastive learning; its rectified embedding becomes r."""
    config = finetune_x()
    del config.label_smoothing
    config.width = 256
    config.weight_decay = 1e-4  # of Adam, decoupled; of SGD, added to the gradient
    config.paco = ConfigDict()
    config.paco.alpha = 0.05  # weight of a positive sample
    config.paco.beta = 1.0  # weight of the own class centre
    config.paco.gamma = 1.0  # weight of the samples in the denominator
    config.paco.temperature = 0.2  # of samples
    config.paco.centre_temperature = 1.0  # of class centres
    config.paco.queue = 1024  # keys remembered; a multiple of batch_size, or 0
    config.paco.momentum = 0.999  # of the key encoder
    config.paco.dim = 64  # of the contrasted projection
    return config


def diffusion_stage() -> Any:
    """What both stages of ZeroDiff share. A dimension of 0 means the semantics' width."""
    config: Any = ConfigDict()
    config.epochs = 300  # one epoch: ceil(training rows / batch_size) iterations
    config.batch_size = 64  # rows of a batch
    config.critic_iter = 5  # critic updates for each generator update
    config.n_steps = 4  # T
    config.beta_min = 0.1  # of the noise schedule, at its start
    config.beta_max = 20.0  # of the noise schedule, at its end
    config.schedule = "variance_preserving"  # variance_preserving | linear
    config.z_dim = 0  # latent noise
    config.time_dim = 0  # sinusoids of the timestep
    config.embed_dim = 0  # the generator's embeddings of t (and r)
    config.generator_width = 4096  # hidden units
    config.critic_width = 4096  # hidden units
    config.decoder_width = 4096  # hidden units of the semantic decoder (V2S)
    config.lr = 1e-4  # learning rate of generator and critics
    config.dec_lr = 1e-4  # learning rate of the semantic decoder
    config.penalty_weight = 10.0  # lambda
    config.semantic_noise = 0.0  # deviation of noise on semantics in training; below 0: relative to that of the classes
    config.gamma_x0 = 1.0  # weight of the critic on x_0 (r_0)
    config.gamma_xt = 1.0  # weight of the critic on x_t (r_t)
    config.syn_num = 400  # synthetic rows of each unseen class
    config.classifier_lr = 1e-3  # learning rate of the final softmax classifier
    return config


def run(method: str) -> Any:
    """What every run has, whatever its method: the caller names its stages and adds a section of options for each."""
    config: Any = ConfigDict()
    config.method = method  # name of the system, for tables
    config.seed = 0  # of all that is drawn
    config.stages = ()  # what is trained, in this order; each has a section of its name
    config.stage = ""  # first stage to run; earlier ones are taken from the workdir
    config.validate = True  # also train on a validation task, so that nothing needs choosing on the test set
    config.upstream = "validated"  # which state of a stage the next one gets: validated | last | oracle
    config.matmul_precision = "default"  # default | high | highest | bfloat16 (on GPUs the default multiplies in TF32)
    config.compilation_cache = ""  # folder in which compiled programs outlive the process; it must be trusted
    config.memory_mb = 8192.0  # training rows that take more, or lie in files, stay on the host and are streamed
    config.log_every = 20  # iterations: one line of metrics.jsonl, one compiled call
    config.checkpoint_every = 0  # epochs; 0: with each evaluation
    config.figures = True  # whether pictures are drawn
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
    config.classifier = "softmax"  # softmax (as published) | lda | prototype | nearest (1-nearest neighbour)
    config.classifier_epochs = 25  # of the softmax classifier
    config.classifier_batch = 0  # of the softmax classifier; 0: syn_num, as published
    config.shrinkage = 0.3  # of lda, linear discriminant analysis: share of the covariance that is its diagonal alone
    config.prototype = ConfigDict()
    config.prototype.lr = 5e-4  # learning rate
    config.prototype.weight_decay = 1e-4  # added to the gradient
    config.prototype.hidden = 1024  # hidden units
    config.prototype.epochs = 50  # passes over the synthetic rows
    config.prototype.batch = 256  # rows of a batch
    config.prototype.decay = 0.1  # of the rate, every so many epochs:
    config.prototype.decay_every = 25  # epochs
    config.prototype.scale = 25.0  # of the cosine
    config.prototype.class_norm = False  # standardise hidden units over the classes
    config.seen_factor = 1.0  # scores of seen classes are multiplied by it; with prototypes published as 0.95
    config.spaces = ("V", "VS", "C", "VC", "VCS")  # V = x, S = semantic decoder, C = r; "V:lda" names a classifier, too
    config.samplers = ("one_step", "progressive")  # one_step | progressive (through the whole diffusion)
    config.chunk_rows = 4096  # rows made or scored at a time
    config.memory_mb = 8192  # feature tables larger than this are made batch by batch
    return config


def zerodiff() -> Any:
    """ZeroDiff with the hyper-parameters that its published configurations share."""
    config = run("zerodiff")
    config.stages = ("drg", "dfg")
    config.drg = representation_stage()
    config.dfg = feature_stage()
    config.drg.semantics_scaling = config.data.get_ref("semantics_scaling")  # l2: of its outputs too
    config.dfg.semantics_scaling = config.data.get_ref("semantics_scaling")  # l2: of its outputs too
    return config


def representation_stage() -> Any:
    """The options of ZeroDiff's first stage."""
    config = diffusion_stage()
    config.feed = "current"  # what R is fed in training: current (r_t, as published) | following (r_{t+1})
    return config


def feature_stage() -> Any:
    """The options of ZeroDiff's second stage."""
    config = diffusion_stage()
    config.encoder_width = 4096  # hidden units
    config.embed_type = "VA"  # the encoder sees x and a (VA) or x alone (V)
    config.gamma_adv = 10.0  # weight of the critics' losses and of their scores in the generator's loss
    config.gamma_vae = 1.0  # weight of the divergence of the encoder's latents
    config.gamma_recons = 1.0  # weight of the semantics' reconstruction
    config.gamma_xc = 1.0  # weight of the critic on (x, r)
    config.gamma_dist = 1.0  # weight of mutual learning between the critics
    config.factor_dist = 1.5  # exponent of mutual learning's weights, which fall with the noise
    config.freeze_decoder = False  # the generator update leaves the semantic decoder alone
    config.use_r = True  # False: an ablation, in which G and the x_t critic don't see r
    config.x0_gates_xt = True  # as published: gamma_x0 = 0 also drops the real x_t term
    return config


def d2sc() -> Any:
    """D2SC with its published hyper-parameters; what its code declares and never applies is off."""
    config = run("d2sc")
    config.stages = ("d2sc_drg", "d2sc_dfg")
    config.d2sc_drg = representation_stage()
    config.d2sc_drg.lr = 1e-3
    config.d2sc_drg.gamma_con_step = 0.02  # timestep consistency of r_t
    config.d2sc_drg.negatives = "none"  # none | mismatched (real r with the semantics of other rows)
    config.d2sc_drg.negative_ratio = 0.5  # share of mismatched rows, and their weight
    config.d2sc_dfg = feature_stage()
    config.d2sc_dfg.lr = 5e-4
    config.d2sc_dfg.gamma_dist = 5.0
    config.d2sc_dfg.freeze_decoder = True
    config.d2sc_dfg.kl_limit = 100.0  # the divergence of the latents is clamped here
    config.d2sc_dfg.gamma_mmd = 0.25  # weight of the maximum mean discrepancy
    config.d2sc_dfg.mmd_sigma = 1.0  # of the Gaussian kernel; inert in 2048 dimensions
    config.d2sc_dfg.gamma_center = 0.25  # weight of the centre loss
    config.d2sc_dfg.train_s2v = False  # True: S2V learns from the centre loss; as published it stays as drawn
    config.d2sc_dfg.unseen_bias = 0.0  # added to latents of unseen classes; published 1.3, but never applied
    config.d2sc_dfg.clip_norm = 1.0  # of gradients
    config.d2sc_drg.z_dim = config.d2sc_dfg.z_dim = 312
    config.d2sc_drg.semantics_scaling = config.data.get_ref("semantics_scaling")  # l2: of its outputs too
    config.d2sc_dfg.semantics_scaling = config.data.get_ref("semantics_scaling")  # l2: of its outputs too
    return config


def tfvaegan() -> Any:
    """TF-VAEGAN with the hyper-parameters that its published configurations share."""
    config = run("tfvaegan")
    config.stages = ("tfvaegan",)
    config.data.features = "res101"
    config.data.representations = ""
    config.data.original_semantics = False  # as published: att, L2-normalised
    config.tfvaegan = tfvaegan_stage()
    config.tfvaegan.semantics_scaling = config.data.get_ref("semantics_scaling")  # l2: of its outputs too
    config.eval.first, config.eval.every = 9, 10  # after a pass with feedback
    config.eval.spaces = ("V", "VS")  # published: VS
    config.eval.samplers = ("one_step",)
    return config


def tfvaegan_stage() -> Any:
    """The options of TF-VAEGAN's one stage."""
    config: Any = ConfigDict()
    config.epochs = 600  # passes over the training rows, by turns without and with feedback: two to a published epoch
    config.batch_size = 64  # rows of a batch
    config.critic_iter = 5  # updates of critic and decoder for each generator update
    config.z_dim = 0  # latent noise; 0: the semantics' width
    config.generator_width = 4096  # hidden units
    config.encoder_width = 4096  # hidden units
    config.critic_width = 4096  # hidden units
    config.decoder_width = 4096  # hidden units of the semantic decoder (V2S)
    config.encoded_noise = True  # the critic sees what is made of the encoder's latents; False: of N(0, 1)
    config.freeze_decoder = False  # the generator update leaves the V2S decoder alone
    config.feedback_from = "reconstruction"  # fakes of N(0, 1): reconstruction (as published) | fake (as meant)
    config.lr = 1e-4  # learning rate of generator, encoder and critic
    config.dec_lr = 1e-4  # learning rate of the semantic decoder
    config.feed_lr = 1e-5  # learning rate of the feedback module
    config.gamma_d = 10.0  # weight of the critic's loss
    config.gamma_g = 10.0  # weight of the critic's score in the generator's loss
    config.gamma_recons = 0.01  # weight of the semantics' reconstruction
    config.a1 = 1.0  # amount of feedback in training
    config.a2 = 1.0  # amount of feedback in synthesis
    config.penalty_weight = 10.0  # lambda
    config.semantic_noise = 0.0  # deviation of noise on semantics in training; below 0: relative to that of the classes
    config.syn_num = 300  # synthetic rows of each unseen class
    config.classifier_lr = 1e-3  # learning rate of the final softmax classifier
    return config


def gan_zoo(objective: str) -> Any:
    """An adversarial generator of the zoo with the hyper-parameters that its published programs share."""
    config = run(objective)
    config.stages = ("seen_classifier", "gan")
    config.seen_classifier = seen_classifier()
    config.gan = gan(objective)
    config.data.features = "res101"
    config.data.representations = ""
    config.data.original_semantics, config.data.semantics_scaling = False, "none"  # as published: att as it is
    config.eval.classifier_epochs = 50
    config.eval.spaces = ("V",)
    config.eval.samplers = ("one_step",)
    return config


def gan(objective: str) -> Any:
    """The options of the zoo's adversarial stage. Each objective uses those of its own."""
    config: Any = ConfigDict()
    config.objective = objective  # see zsl_jax/train_steps/gan_objectives.py
    config.meant = False  # the objective as its source has it, where the published program differs
    config.safe_logs = False  # logarithms of probabilities without an epsilon, finite for all scores
    config.penalty = ""  # unit | sixth_power | none; empty: the objective's own
    config.epochs = 1000  # passes over the training rows
    config.batch_size = 64  # rows of a batch
    config.critic_iter = 5  # critic updates for each generator update
    config.z_dim = 0  # normal noise; 0: the semantics' width, as for both codes
    config.categories = 0  # InfoGAN's categorical code
    config.continuous = 0  # InfoGAN's continuous code
    config.generator_width = 4096  # hidden units
    config.critic_width = 4096  # hidden units
    config.lr = 1e-4  # learning rate
    config.penalty_weight = 10.0  # lambda
    config.cls_weight = 0.01  # of the frozen classifier's loss; needs the stage seen_classifier, unless it is 0
    config.weight_decay = 4e-4  # times the sum of the generator's squared weights
    config.semantic_noise = 0.0  # deviation of noise on semantics in training; below 0: relative to that of the classes
    config.synthesis_noise = 0.0  # likewise in synthesis, on half of the rows
    config.energy_weight = 1.0  # CramerGAN as meant
    config.rho = 1e-6  # FisherGAN: weight of the squared constraint, and rate of its multiplier
    config.diversity = 0.5  # BEGAN: error on fakes in equilibrium, as a share of that on real rows
    config.k_rate = 1e-3  # BEGAN
    config.plateau_epochs = 320.0  # BEGAN: epochs without progress until the rate is halved; published: 5 x batch size
    config.info_weight = 1.0  # InfoGAN as meant
    config.syn_num = 2000  # synthetic rows of each unseen class
    config.classifier_lr = 1e-3  # learning rate of the final softmax classifier
    return config


def cramergan_tricks() -> Any:
    """The zoo's three tricks: Cramer distance, noise on semantics, and a classifier of generative prototypes."""
    config = gan_zoo("cramergan")
    config.method = "cramergan_tricks"
    config.stages = ("gan",)  # as published, the classifier of seen classes takes no part
    config.gan.penalty = "unit"
    config.gan.cls_weight = 0.0
    config.gan.semantic_noise, config.gan.synthesis_noise = 0.08, 0.3
    config.eval.classifier, config.eval.seen_factor = "prototype", 0.95
    return config


def seen_classifier() -> Any:
    """A stage that trains a linear softmax classifier of the seen classes for later stages."""
    config: Any = ConfigDict()
    config.epochs = 50  # at the most
    config.eval_every = 5  # epochs between looks at the held-out loss
    config.patience = 0  # evaluations without a lower held-out loss before stopping; 0: never
    config.holdout = 0.1  # share of the training rows whose loss says which state later stages get
    config.batch_size = 100  # rows of a batch
    config.lr = 1e-3  # learning rate
    return config


def autoencoder(objective: str) -> Any:
    """An autoencoder of the zoo with the hyper-parameters that its published programs share."""
    config = run(objective)
    config.stages = ("seen_classifier", "autoencoder")
    config.seen_classifier = seen_classifier()
    config.autoencoder = autoencoder_stage(objective)
    config.data.features = "res101"
    config.data.representations = ""
    config.data.original_semantics, config.data.semantics_scaling = False, "none"  # as published: att as it is
    config.eval.classifier_epochs = 50
    config.eval.spaces = ("V",)
    config.eval.samplers = ("one_step",)
    return config


def autoencoder_stage(objective: str) -> Any:
    """The options of the zoo's autoencoding stage. Each objective uses those of its own."""
    config: Any = ConfigDict()
    config.objective = objective  # ae | ae2 | vae | bir_vae, see zsl_jax/train_steps/autoencoders.py
    config.meant = False  # ae2 | vae | bir_vae as their sources have them, where the published programs differ
    config.epochs = 1000  # passes over the training rows
    config.batch_size = 64 if objective == "vae" else 512  # rows of a batch
    config.z_dim = 0  # noise, and the latent of bir_vae (as meant, of vae too); 0: the semantics' width
    config.encoder_width = 4096  # hidden units
    config.decoder_width = 4096  # hidden units
    config.lr = 1e-4  # learning rate
    config.cls_weight = 0.01  # of the frozen classifier's loss; needs the stage seen_classifier, unless it is 0
    config.weight_decay = 4e-4  # times the sum of squared weights; the errors are sums over a batch
    config.information_rate = 13.3  # bir_vae: bits that the latent carries
    config.syn_num = 2000 if objective == "ae2" else 1800  # synthetic rows of each unseen class
    config.classifier_lr = 1e-3  # learning rate of the final softmax classifier
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
