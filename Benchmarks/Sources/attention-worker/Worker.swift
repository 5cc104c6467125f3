import Attention
import AttentionBench
import Foundation
import MachineTopology
import TensorFiles

/// One plan at a time, prepared once and run as often as asked.
struct Worker {
  /// A team is kept while requests ask for the same one: starting threads is no part of the work.
  private struct Crew {
    let team: WorkerTeam
    let threads: Int
    let binding: ThreadBinding
  }

  private struct Work {
    let plan: any AttentionPlan
    let tensors: ProblemTensors
    let output: Tensor
    let operands: AttentionOperands
    let rank: Int
  }

  private let topology: MachineTopology
  private let fma = FMARate()
  private var crew: Crew?
  private var work: Work?

  init() throws {
    topology = try MachineTopology.host()
    BLASLibrary.useOneThread()
  }

  /// The run's `meta.json` as it stands at the start.
  func describe(_ request: Request.Describe) -> RunMetadata {
    .host(
      argv: request.argv, options: request.options, seed: request.seed, topology: topology,
      blasNote: BLASSettings.inForce().first)
  }

  /// Reads the tensors, plans, and allocates: all that is not timed.
  mutating func prepare(_ request: Request.Prepare) throws -> Prepared {
    work = nil
    let team = try staff(request)
    let file = try FileProblem(
      query: source(request.query), key: source(request.key), value: source(request.value))
    let problem = try AttentionProblem(file.shape, causal: request.causal)
    let strategy = try StrategyRegistry.standard.strategy(request.strategy)
    let estimate = try strategy.work(for: problem, threads: team.threadCount)
    let plan = try strategy.plan(for: problem, on: team)
    let tensors = try file.tensors()
    let output = try Tensor(file.shape.output)
    // Resident before the first call.
    output.elements.update(repeating: .nan)
    work = Work(
      plan: plan, tensors: tensors, output: output,
      operands: AttentionOperands(
        query: tensors.query.view, key: tensors.key.view, value: tensors.value.view,
        output: output.mutableView),
      rank: file.rank)
    return Prepared(
      strategy: type(of: strategy).name, parameters: strategy.resolvedParameters(for: problem),
      classification: type(of: strategy).operatorClass.rawValue, pairs: estimate.pairs,
      flops: estimate.flops, minimumBytes: estimate.minimumBytes,
      workspaceBytes: plan.workspaceBytes, binding: request.binding,
      cpus: team.bindings.map { ($0 ?? topology.allowed).indices },
      isa: KernelTable.active.name, blasCore: BLASLibrary.core)
  }

  /// Calls the plan.
  func run(_ request: Request.Run) throws -> Timed {
    let work = try prepared()
    for _ in 0..<request.warm { try work.plan.run(work.operands) }
    var wall: [Int64] = []
    var processor: [Int64] = []
    let clock = ContinuousClock()
    for _ in 0..<request.repeats {
      let before = ProcessActivity.current().cpuTime
      let elapsed = try clock.measure { try work.plan.run(work.operands) }
      wall.append(elapsed.nanoseconds)
      processor.append((ProcessActivity.current().cpuTime - before).nanoseconds)
    }
    return Timed(wall: wall, processor: processor)
  }

  /// Writes the output of the last call.
  func save(_ request: Request.Save) throws -> Done {
    let work = try prepared()
    let shape = work.output.shape
    let sizes = [shape.batch, shape.heads, shape.rows, shape.columns].suffix(work.rank)
    let tensor = try HostTensor(shape: Array(sizes)) { elements in
      _ = elements.update(from: work.output.elements)
    }
    try NpyFile.write(tensor, to: request.path)
    return Done()
  }

  /// One burst of fused multiply-adds on the team of the last `prepare`.
  func peak() throws -> Peak {
    guard let crew else { throw RequestError(description: "peak: prepare has not been asked yet") }
    return Peak(gflopPerSecond: fma.burst(on: crew.team) / 1e9)
  }

  private func prepared() throws -> Work {
    guard let work else {
      throw RequestError(description: "nothing is prepared; ask prepare first")
    }
    return work
  }

  private mutating func staff(_ request: Request.Prepare) throws -> WorkerTeam {
    let binding = try ThreadBinding(parsing: request.binding)
    if let crew, crew.threads == request.threads, crew.binding == binding { return crew.team }
    // The old team gives this thread its own binding back before the new one takes it.
    crew = nil
    let team = try WorkerTeam(threads: request.threads, binding: binding, topology: topology)
    crew = Crew(team: team, threads: request.threads, binding: binding)
    return team
  }

  private func source(_ path: String) throws -> FileProblem.Source {
    FileProblem.Source(try NpyFile.read(path), name: path)
  }
}

extension Duration {
  fileprivate var nanoseconds: Int64 {
    let (seconds, attoseconds) = components
    return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
  }
}
