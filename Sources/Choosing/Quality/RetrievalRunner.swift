import Attention
import MachineTopology
import Measuring
import Records
import Statistics
import Units

/// Runs strategies on the needles of a task.
public struct RetrievalRunner: Sendable {
  /// How one strategy fared.
  public enum Outcome: Sendable {
    /// Every needle was looked for.
    case measured(RetrievalResult)
    /// Not run, with the reason: more memory than there is, or a refusal.
    case notRun(strategy: String, reason: String)
  }

  private let team: WorkerTeam
  private let memoryLimit: ByteCount

  /// A runner on `team`.
  ///
  /// - Parameter memoryLimit: a strategy that needs more, tensors included, is not run.
  public init(team: WorkerTeam, memoryLimit: ByteCount) {
    self.team = team
    self.memoryLimit = memoryLimit
  }

  /// Looks for every needle with every strategy, all on the same tensors.
  ///
  /// - Parameter stop: ends the search after the run under way; what is returned then counts fewer
  ///   needles.
  /// - Returns: one outcome a strategy, in the order given.
  /// - Throws: `AttentionError` when memory for the tensors is refused.
  public func run(
    _ task: RetrievalTask, _ strategies: [any AttentionStrategy], stop: StopFlag = StopFlag()
  ) throws(AttentionError) -> [Outcome] {
    var searches = strategies.map { Search($0, task, threads: team.threadCount, memoryLimit) }
    var sample = RecallSample(task)
    let output = try Tensor(task.problem.shape.output)
    for (round, needles) in task.rounds().enumerated() where !stop.isRaised {
      let tensors = try task.tensors(round: round, needles: needles, on: team)
      let sample = sample.next(needles)
      let reference =
        sample.isEmpty || searches.allSatisfy { !$0.hasRecall }
        ? nil
        : RecallReference(
          task.problem,
          rows: sample.map { SampledRow(batch: 0, head: $0.head, row: $0.row) }, tensors.views,
          on: team)
      for index in searches.indices where !stop.isRaised {
        searches[index].look(for: needles, in: tensors, output: output, on: team)
        if let reference {
          searches[index].hold(sample, to: reference, tensors.views, on: team)
        }
      }
    }
    return searches.map(\.outcome)
  }
}

/// The needles whose rows are held to full attention in fp64: the first of each bin.
private struct RecallSample {
  /// Of a bin at most.
  private static let most = 16
  /// Rows times keys of all bins, at about a nanosecond a dimension each.
  private static let affordable = 1 << 24

  private var left: [Int]

  init(_ task: RetrievalTask) {
    let bins = task.bins.count
    let fitting = Self.affordable / max(task.problem.shape.keyLength * bins, 1)
    left = Array(repeating: min(max(fitting, 1), Self.most), count: bins)
  }

  /// Those of a round.
  mutating func next(_ needles: [Needle]) -> [Needle] {
    needles.filter { needle in
      if left[needle.bin] == 0 { return false }
      left[needle.bin] -= 1
      return true
    }
  }
}

/// One strategy's search.
private struct Search {
  private let strategy: any AttentionStrategy
  private let task: RetrievalTask
  private var result: RetrievalResult
  private var refusal: String?

  init(
    _ strategy: any AttentionStrategy, _ task: RetrievalTask, threads: Int, _ limit: ByteCount
  ) {
    self.strategy = strategy
    self.task = task
    result = RetrievalResult(strategy, on: task)
    do throws(AttentionError) {
      if let operand = strategy.operands.first(where: { !$0.isOptional }) {
        refusal =
          "takes \(operand.name), for which needles have no values: needs a model trained for it"
        return
      }
      let work = try strategy.work(for: task.problem, threads: threads)
      let (bytes, overflow) = work.workspaceBytes.addingReportingOverflow(
        task.problem.tensorBytes)
      let needed = ByteCount(overflow ? .max : bytes)
      if needed > limit {
        refusal = "needs \(needed.rounded) of memory, \(limit.rounded) may be used"
      }
    } catch {
      refusal = "\(error)"
    }
  }

  var outcome: RetrievalRunner.Outcome {
    refusal.map { .notRun(strategy: result.strategy, reason: $0) } ?? .measured(result)
  }

  /// Whether it keeps some of the keys, so that there is something to hold to full attention.
  var hasRecall: Bool { refusal == nil && strategy.operatorClass == .restricted }

  mutating func hold(
    _ needles: [Needle], to reference: RecallReference, _ inputs: InputViews, on team: WorkerTeam
  ) {
    if !hasRecall { return }
    result.add(
      needles,
      recalls: reference.rowRecalls(of: strategy.oracle(for: task.problem), inputs, on: team))
  }

  mutating func look(
    for needles: [Needle], in tensors: ProblemTensors, output: Tensor, on team: WorkerTeam
  ) {
    if refusal != nil { return }
    // A row that is not written must not be found by what another strategy left there.
    output.elements.update(repeating: .nan)
    do throws(AttentionError) {
      try strategy.plan(for: task.problem, on: team).run(
        AttentionOperands(
          query: tensors.query.view, key: tensors.key.view, value: tensors.value.view,
          output: output.mutableView))
      result.add(needles, output: output, value: tensors.value, choices: task.choices)
    } catch {
      refusal = "\(error)"
    }
  }
}
