import Attention
import MachineTopology
import Records
import Statistics
import Units

/// One point of a sweep: a strategy on a problem of one size with a number of workers.
public struct SweepCell: Sendable, Identifiable {
  /// The same arguments give the same text: `flash-n4096-t2`, `window_512_sinks4-n4096-t2`.
  public let id: String
  /// The size that the sweep varies.
  public let n: Int
  /// What is to be computed.
  public let problem: AttentionProblem
  /// How; where another runs the cell, the strategy whose definition its output is held against.
  public let strategy: any AttentionStrategy
  /// Who runs it, as its row says.
  public let runner: CellRunner
  /// The strategy with its parameters resolved for the problem: `strided(64)`.
  public let spec: String
  /// The workers and where they run.
  public let placement: SweepPlacement
  /// Cells with the same number differ in n only: one curve of the plot.
  public let curve: Int
  /// What of a model's work it is.
  public let pass: AttentionPass
  /// Whether a run is a step of the strategy's decoder, from what that keeps: a state, or something beside
  /// the cache of keys and values. Other steps read keys and values where they lie.
  let isStep: Bool
  /// The counted work, or why the strategy cannot serve the problem.
  public let work: Result<WorkEstimate, AttentionError>

  package init(
    problem: AttentionProblem, n: Int, strategy: any AttentionStrategy,
    placement: SweepPlacement, curve: Int
  ) {
    self.n = n
    self.problem = problem
    self.strategy = strategy
    self.placement = placement
    self.curve = curve
    let pass = Self.pass(of: problem.shape, n: n)
    self.pass = pass
    runner = CellRunner(strategy, problem)
    spec = strategy.spec(for: problem)
    id = "\(Self.slug(spec))-n\(n)-t\(placement.threads)"
    let isStep = pass == .decode && (strategy.keepsState || strategy.keepsBesideCache)
    self.isStep = isStep
    work = Result { () throws(AttentionError) in
      var work = try strategy.countedWork(for: problem, threads: placement.threads, pass: pass)
      if isStep, !strategy.keepsState {
        work.workspaceBytes += try strategy.cacheBytes(for: problem)
      }
      return work
    }
  }

  /// Where the swept size counts keys, the few queries are a step's.
  private static func pass(of shape: AttentionShape, n: Int) -> AttentionPass {
    n == shape.keyLength && shape.queryLength < n ? .decode : .forward
  }

  /// A cell that something else than this process runs, such as another library.
  ///
  /// - Parameters:
  ///   - id: of this cell alone.
  ///   - definition: what is computed: its oracle decides whether an output is right, and its work
  ///     is what counts as useful.
  ///   - workspaceBytes: what the run holds beyond inputs and output, for limits.
  public init(
    id: String, problem: AttentionProblem, n: Int, runner: CellRunner,
    definition: any AttentionStrategy, workspaceBytes: Int, placement: SweepPlacement, curve: Int
  ) {
    self.id = id
    self.n = n
    self.problem = problem
    self.strategy = definition
    self.runner = runner
    spec = runner.label.text
    self.placement = placement
    self.curve = curve
    pass = Self.pass(of: problem.shape, n: n)
    isStep = false
    work = Result { () throws(AttentionError) in
      var work = try definition.countedWork(for: problem, threads: placement.threads)
      work.workspaceBytes = workspaceBytes
      return work
    }
  }

  /// Bytes of query, key, value, output and the strategy's own operands, and of the fp32 copies that
  /// errors are measured with where they are stored otherwise.
  public var tensorBytes: Int {
    let shape = problem.shape
    // Where they overflow, so does the work, and the cell is not run.
    let named = (try? strategy.operands.bytes(on: shape)) ?? 0
    if problem.storage.isFloat32 { return problem.tensorBytes + named }
    return problem.tensorBytes + named + 4
      * (shape.query.count + shape.key.count + shape.value.count)
  }

  /// `window(512, sinks: 4)` as `window_512_sinks4`, so that an id needs no quotes anywhere.
  public static func slug(_ spec: String) -> String {
    var slug = ""
    for character in spec where character != " " && character != ")" && character != ":" {
      slug.append(character == "(" || character == "," ? "_" : character)
    }
    return slug
  }
}

extension AttentionStrategy {
  /// What it takes of every key.
  fileprivate var operandsOfKeys: [OperandDeclaration] {
    operands.filter { $0.axes.contains(.keyLength) }
  }

  /// Bytes that a decoder holds of keys, values and what comes with keys.
  fileprivate func cacheBytes(for problem: AttentionProblem) throws(AttentionError) -> Int {
    let shape = problem.shape
    return try shape.batch * shape.keyLength
      * CacheShape(shape).bytesPerToken(problem.storage.keyValue)
      + operandsOfKeys.bytes(on: shape)
  }
}

/// Who runs a cell, as plans and rows need to know it.
public struct CellRunner: Sendable {
  /// Its name, parameters and class.
  public var label: ResultRow.StrategyLabel
  /// How it stores operands: `fp32`.
  public var elementType: String
  /// What its products are taken in, whose peak they are held against.
  public var arithmetic: Arithmetic
  /// The code that runs; nil for that of this process.
  public var build: ResultRow.Build?

  /// A runner as given.
  public init(
    label: ResultRow.StrategyLabel, elementType: String, arithmetic: Arithmetic = .float32,
    build: ResultRow.Build? = nil
  ) {
    self.label = label
    self.elementType = elementType
    self.arithmetic = arithmetic
    self.build = build
  }

  /// A strategy that this process runs.
  public init(_ strategy: any AttentionStrategy, _ problem: AttentionProblem) {
    self.init(
      label: ResultRow.StrategyLabel(
        name: strategy.name, parameters: strategy.resolvedParameters(for: problem),
        classification: strategy.operatorClass.rawValue),
      elementType: problem.storage.label, arithmetic: strategy.arithmetic)
  }
}

/// How many workers a cell has and where they run.
public struct SweepPlacement: Hashable, Sendable {
  /// The number of workers.
  public let threads: Int
  /// Where they are bound, with as many places as there are workers.
  public let binding: ThreadBinding

  /// Places `threads` workers.
  ///
  /// - Parameter binding: cores or PUs beyond the number of workers are left out; nil binds worker
  ///   i to the i-th allowed core.
  /// - Throws: `TopologyError` when the machine does not have or allow such places.
  public init(
    threads: Int, binding: ThreadBinding?, topology: MachineTopology
  ) throws(TopologyError) {
    let asked = binding ?? .cores(topology.allowedCores.map(\.index))
    _ = try topology.cpuSets(for: asked, workers: threads)
    self.threads = threads
    self.binding =
      switch asked {
      case .cores(let indices): .cores(Array(indices.prefix(threads)))
      case .processingUnits(let indices): .processingUnits(Array(indices.prefix(threads)))
      case .numaNodes, .none: asked
      }
  }

  /// A placement as given, for planning without a machine.
  public init(threads: Int, binding: ThreadBinding) {
    self.threads = threads
    self.binding = binding
  }
}
