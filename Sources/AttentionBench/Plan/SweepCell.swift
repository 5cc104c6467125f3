import Attention
import MachineTopology

/// One point of a sweep: a strategy on a problem of one size with a number of workers.
public struct SweepCell: Sendable, Identifiable {
  /// The same arguments give the same text: `flash-n4096-t2`, `window_512_sinks4-n4096-t2`.
  public let id: String
  /// The size that the sweep varies.
  public let n: Int
  /// What is to be computed.
  public let problem: AttentionProblem
  /// How.
  public let strategy: any AttentionStrategy
  /// The strategy with its parameters resolved for the problem: `strided(64)`.
  public let spec: String
  /// The workers and where they run.
  public let placement: SweepPlacement
  /// Cells with the same number differ in n only: one curve of the plot.
  public let curve: Int
  /// The counted work, or why the strategy cannot serve the problem.
  public let work: Result<WorkEstimate, AttentionError>

  init(
    problem: AttentionProblem, n: Int, strategy: any AttentionStrategy,
    placement: SweepPlacement, curve: Int
  ) {
    self.n = n
    self.problem = problem
    self.strategy = strategy
    self.placement = placement
    self.curve = curve
    spec = strategy.spec(for: problem)
    id = "\(Self.slug(spec))-n\(n)-t\(placement.threads)"
    work = Result { () throws(AttentionError) in
      try strategy.work(for: problem, threads: placement.threads)
    }
  }

  /// Bytes of query, key, value and output, and of the fp32 copies that errors are measured with
  /// where they are stored otherwise.
  public var tensorBytes: Int {
    if problem.storage.isFloat32 { return problem.tensorBytes }
    let shape = problem.shape
    return problem.tensorBytes + 4 * (shape.query.count + shape.key.count + shape.value.count)
  }

  /// `window(512, sinks: 4)` as `window_512_sinks4`, so that an id needs no quotes anywhere.
  private static func slug(_ spec: String) -> String {
    var slug = ""
    for character in spec where character != " " && character != ")" && character != ":" {
      slug.append(character == "(" || character == "," ? "_" : character)
    }
    return slug
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
