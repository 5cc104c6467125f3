import MachineTopology
import Records
import Statistics
import Units

/// Which kernels OpenBLAS shall run: decided from what the processor can do, what the library runs now
/// and what the environment asks for.
///
/// OpenBLAS takes the kernels of the processors that it was written for. On one that is newer it may
/// take kernels of vectors a quarter as wide. A choice of the user's holds where it is as wide as the
/// processor allows; otherwise the widest kernels are tried, and those that run, name themselves as
/// asked and multiply right are taken.
public struct BLASChoice: Sendable {
  /// The processor.
  public let processor: ProcessorFeatures
  /// The kernels in force.
  public let core: String
  /// What of `BLASSettings.variables` is set.
  public let settings: [String: String]
  /// Whether the library can choose at all, or was built for one processor.
  public let choosesKernels: Bool
  /// Whether the environment leaves it several threads in each calling thread.
  public let hasOpenMPThreads: Bool

  /// States what is found.
  public init(
    processor: ProcessorFeatures, core: String, settings: [String: String],
    choosesKernels: Bool = true, hasOpenMPThreads: Bool = false
  ) {
    self.processor = processor
    self.core = core
    self.settings = settings
    self.choosesKernels = choosesKernels
    self.hasOpenMPThreads = hasOpenMPThreads
  }

  /// A way to load the library.
  public struct Candidate: Hashable, Sendable {
    /// The value of `OPENBLAS_CORETYPE`; nil leaves the choice to the library.
    public let coreType: String?
    /// Whether OpenMP has to be kept to one thread.
    public let limitsOpenMP: Bool

    /// An environment with this choice in place of any other.
    public func applied(to environment: [String: String]) -> [String: String] {
      var changed = environment
      for name in BLASSettings.variables { changed[name] = nil }
      changed[BLASSettings.coreType] = coreType
      if limitsOpenMP { changed["OMP_NUM_THREADS"] = "1" }
      return changed
    }
  }

  /// What came of loading the library in some way.
  public struct Trial: Hashable, Sendable {
    /// The kernels that it ran.
    public let core: String
    /// Whether products were right at every size that was tried.
    public let isRight: Bool
    /// 10^9 operations a second of one thread.
    public let gflopPerSecond: Double

    /// An outcome as given.
    public init(core: String, isRight: Bool, gflopPerSecond: Double) {
      self.core = core
      self.isRight = isRight
      self.gflopPerSecond = gflopPerSecond
    }
  }

  /// Why what is set, or what the library chose, shall not stand.
  public enum Objection: Hashable, Sendable {
    /// The library has no kernels of the name asked for.
    case unknownKernels(String)
    /// The kernels in force need instructions that the processor lacks.
    case missingInstructions([String])
    /// The kernels in force are narrower than the best that the processor runs.
    case narrow
    /// Variables that change the block sizes which belong to the kernels.
    case blockSizes([String])
    /// OpenMP gives each worker threads of its own.
    case openMPThreads
  }

  /// Why what is in force shall not stand; empty when it may.
  public var objections: [Objection] {
    var found: [Objection] = []
    if let requested, !Self.isSame(requested, core) { found.append(.unknownKernels(requested)) }
    if let kernel = BLASKernel.named(core), !kernel.runs(on: processor) {
      found.append(.missingInstructions(kernel.needs.subtracting(processor.flags).sorted()))
    } else if isNarrow(core) {
      found.append(.narrow)
    }
    let others = BLASSettings.variables.filter {
      $0 != BLASSettings.coreType && settings[$0] != nil
    }
    if !others.isEmpty { found.append(.blockSizes(others)) }
    if hasOpenMPThreads { found.append(.openMPThreads) }
    return found
  }

  /// The ways to load the library that are worth a try, best first; none where what is in force may
  /// stand, or nothing could change it.
  public var candidates: [Candidate] {
    let objections = objections
    guard !objections.isEmpty else { return [] }
    func candidate(_ coreType: String?) -> Candidate {
      Candidate(coreType: coreType, limitsOpenMP: hasOpenMPThreads)
    }
    let mayStand = objections.allSatisfy { objection in
      switch objection {
      case .blockSizes, .openMPThreads: true
      case .unknownKernels, .missingInstructions, .narrow: false
      }
    }
    if mayStand { return [candidate(requested)] }
    guard choosesKernels else { return [] }
    let own = requested == nil && settings.isEmpty ? [] : [candidate(nil)]
    return own + BLASKernel.candidates(for: processor).map { candidate($0.name) }
  }

  /// Tries candidates in turn.
  ///
  /// - Parameter trial: loads the library so; nil where that crashed.
  /// - Returns: the first candidate that is right and as wide as the processor allows; where none is,
  ///   the widest that is right and wider than what is in force; nil where what is in force is as good.
  public func chosen(trying trial: (Candidate) -> Trial?) -> (Candidate, Trial)? {
    var second: (Candidate, Trial)?
    for candidate in candidates {
      guard let outcome = trial(candidate), outcome.isRight,
        candidate.coreType.map({ Self.isSame($0, outcome.core) }) ?? true
      else { continue }
      if !isNarrow(outcome.core) { return (candidate, outcome) }
      if width(outcome.core) > second.map({ width($0.1.core) }) ?? 0 {
        second = (candidate, outcome)
      }
    }
    // Anything beats kernels that cannot run.
    let isRunnable = BLASKernel.named(core)?.runs(on: processor) ?? true
    guard let second, !isRunnable || !settings.isEmpty || width(second.1.core) > width(core) else {
      return nil
    }
    return second
  }

  /// The kernels that the environment asks for, of a library that listens.
  private var requested: String? { choosesKernels ? settings[BLASSettings.coreType] : nil }

  private func isNarrow(_ core: String) -> Bool {
    guard let best = BLASKernel.candidates(for: processor).first else { return false }
    return width(core) < best.width
  }

  private func width(_ core: String) -> Int { BLASKernel.named(core)?.width ?? .max }

  private static func isSame(_ left: String, _ right: String) -> Bool {
    left.lowercased() == right.lowercased()
  }
}
