import Attention
import Foundation
import Statistics
import Units

/// `meta.json`: everything needed to understand a run's numbers and to take them again.
///
/// Keys are snake_case. What a machine does not tell is left out.
public struct RunMetadata: Codable, Equatable, Sendable {
  /// The version of `results.csv`'s columns.
  public var schemaVersion = ResultRow.currentSchemaVersion
  /// The run, as in `results.csv`.
  public var runID: String
  /// The command line as it was typed.
  public var argv: [String]
  /// The options as they were understood, defaults included, in the command line's own spelling.
  public var options: [String: String]
  /// The file that the tensors came from; nil where they were random.
  public var inputs: Inputs?
  /// The seed of everything random.
  public var seed: UInt64
  public var toolVersion: String
  /// How the tool was built.
  public var build: Build
  /// The matrix library of the baseline.
  public var blas: BLAS
  /// The instruction sets our own kernels were compiled for.
  public var isaCompiled: [String]
  /// The one that was used.
  public var isaChosen: String
  public var machine: Machine
  /// Load averages over 1, 5 and 15 minutes when the run began.
  public var loadBefore: [Double]?
  /// The same when it ended.
  public var loadAfter: [Double]?
  /// When the run began.
  public var startedAt: Date
  /// When it ended; nil while it runs and after a kill.
  public var endedAt: Date?
  /// Whether every cell was visited.
  public var completed = false
  /// FMA peak and read bandwidth as measured among the cells; nil before the end.
  public var ceilings: [MachineCeiling]?

  /// Describes a run that begins now.
  public init(
    runID: String, argv: [String], options: [String: String], seed: UInt64, toolVersion: String,
    build: Build, blas: BLAS, isaCompiled: [String], isaChosen: String, machine: Machine,
    loadBefore: [Double]?, startedAt: Date
  ) {
    self.runID = runID
    self.argv = argv
    self.options = options
    self.seed = seed
    self.toolVersion = toolVersion
    self.build = build
    self.blas = blas
    self.isaCompiled = isaCompiled
    self.isaChosen = isaChosen
    self.machine = machine
    self.loadBefore = loadBefore
    self.startedAt = startedAt
  }

  private enum CodingKeys: String, CodingKey {
    case schemaVersion = "schema_version"
    case runID = "run_id"
    case argv
    case options
    case inputs
    case seed
    case toolVersion = "tool_version"
    case build
    case blas
    case isaCompiled = "isa_compiled"
    case isaChosen = "isa_chosen"
    case machine
    case loadBefore = "load_before"
    case loadAfter = "load_after"
    case startedAt = "started_at"
    case endedAt = "ended_at"
    case completed
    case ceilings
  }

  /// A file of tensors, known by what it holds.
  public struct Inputs: Codable, Equatable, Sendable {
    /// The path as it was given.
    public var path: String
    /// The prefix of the tensors in it; nil without one.
    public var prefix: String?
    /// The bytes of the file.
    public var content: FileFingerprint

    public init(path: String, prefix: String?, content: FileFingerprint) {
      self.path = path
      self.prefix = prefix
      self.content = content
    }
  }

  /// How the tool was built.
  public struct Build: Codable, Equatable, Sendable {
    /// The commit of the sources.
    public var commit: String?
    /// Whether the sources had changes that are in no commit.
    public var dirty: Bool?
    public var compiler: String
    /// The flags that matter for speed.
    public var compilerFlags: String
    /// The bytes of the program: two builds of one commit with other changes differ here. Nil where
    /// the program cannot be read.
    public var program: FileFingerprint?

    public init(
      commit: String?, dirty: Bool?, compiler: String, compilerFlags: String,
      program: FileFingerprint? = nil
    ) {
      self.commit = commit
      self.dirty = dirty
      self.compiler = compiler
      self.compilerFlags = compilerFlags
      self.program = program
    }

    private enum CodingKeys: String, CodingKey {
      case commit
      case dirty
      case compiler
      case compilerFlags = "compiler_flags"
      case program
    }
  }

  /// The matrix library.
  public struct BLAS: Codable, Equatable, Sendable {
    /// Its name and version.
    public var library: String
    /// How it says it was configured.
    public var config: String
    /// The kernel it chose.
    public var core: String
    /// The threads it may use inside one call.
    public var threads: Int
    /// What became of the environment, such as `OPENBLAS_CORETYPE=Prescott not taken`.
    public var environmentNote: String?
    /// The environment in force, as far as it listens to it, each as `NAME=value`.
    public var environment: [String]?
    /// 10^9 operations a second of one thread when the run began; nil where it was not measured.
    public var gflopPerSecond: Double?
    /// The same in percent of the FMA peak of one thread, measured in turn with it.
    public var percentOfPeak: Double?

    public init(
      library: String, config: String, core: String, threads: Int, environmentNote: String?
    ) {
      self.library = library
      self.config = config
      self.core = core
      self.threads = threads
      self.environmentNote = environmentNote
    }

    private enum CodingKeys: String, CodingKey {
      case library
      case config
      case core
      case threads
      case environmentNote = "environment_note"
      case environment
      case gflopPerSecond = "gflop_per_s"
      case percentOfPeak = "pct_of_peak"
    }
  }
}
