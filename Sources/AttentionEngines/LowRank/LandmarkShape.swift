import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// How rows become landmarks, and how the inverse between them is taken.
public struct LandmarkShape: Sendable, Hashable {
  /// Landmarks that are asked for, of queries and of keys alike.
  public let landmarks: Int
  /// Steps of the inverse.
  public let iterations: Int

  public init(landmarks: Int, iterations: Int) {
    (self.landmarks, self.iterations) = (landmarks, iterations)
  }

  /// Landmarks of a sequence: no more than it has queries or keys.
  func count(in geometry: MaskGeometry) -> Int {
    min(landmarks, geometry.queryLength, geometry.keyLength)
  }

  /// The rows that a landmark is the mean of: segments follow each other and differ in length by one at most.
  static func segment(_ index: Int, of count: Int, rows: Int) -> Range<Int> {
    index * rows / count..<(index + 1) * rows / count
  }

  /// Operations of a head's inverse and of what is multiplied by it.
  func inverseFlops(_ count: Int, _ shape: AttentionShape) -> Int {
    2 * count * count * (shape.headDim + 4 * iterations * count + shape.valueDim)
  }
}

/// A strategy that attends through landmarks: the engine serves it.
public protocol LandmarkStrategy: FamilyStrategy {
  /// How many landmarks, and how they are inverted.
  var landmarks: LandmarkShape { get }
}

extension LandmarkStrategy {
  /// Every landmark is a mean over queries and keys that are yet to come.
  public var servesCausalMasks: Bool { false }

  public var queryReach: QueryReach { .head }

  public var usesBLAS: Bool { true }

  public func work(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    try check(problem)
    return try LandmarkLayout(problem, landmarks, threads: threads).work()
  }

  public func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    try check(problem)
    return try LandmarkPlan(
      LandmarkLayout(problem, landmarks, threads: team.threadCount), team: team)
  }

  public func decoder(
    for problem: AttentionProblem, cache: CacheChoice, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionDecoder { throw decodesNothing }

  public func stepWork(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate { throw decodesNothing }

  private var decodesNothing: AttentionError {
    AttentionError(
      .invalidArgument, argument: "strategy", value: name,
      advice:
        "decodes no tokens: its landmarks are means over all queries, and each step would change "
        + "those of the steps before; use flash or linear")
  }

  public func oracle(for problem: AttentionProblem) -> any AttentionOracle {
    LandmarkOracle(problem, landmarks)
  }

  private func check(_ problem: AttentionProblem) throws(AttentionError) {
    if problem.visibility.causal {
      throw AttentionError(
        .invalidArgument, argument: "causal", value: "true",
        advice:
          "is not served by \(name): every landmark is a mean over queries and keys from the whole "
          + "sequence, so that each row would see its future; leave it out, or use linear or window"
      )
    }
    try problem.refuse(
      [.window, .mask, .bias, .alibi, .prefix, .softcap, .sinkLogits],
      advice:
        "is not served by \(name), which has no scores of queries and keys for it to act on; leave "
        + "it out or use a softmax strategy such as flash")
  }
}
