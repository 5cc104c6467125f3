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
    /// Made when it is first asked for.
    var bandwidth: ReadBandwidth?
  }

  private struct Work {
    let plan: any AttentionPlan
    let tensors: ProblemTensors
    let output: Tensor
    let operands: AttentionOperands
    let rank: Int
  }

  private let topology: MachineTopology
  private var peaks: [Arithmetic: FMARate] = [:]
  private var crew: Crew?
  private var work: Work?

  private let blas: BLASEnvironment

  init() throws {
    // Before the first line is read: it may replace the process.
    blas = try BLASEnvironment.prepare(keep: false)
    topology = try MachineTopology.host()
    BLASLibrary.useOneThread()
  }

  /// The run's `meta.json` as it stands at the start.
  func describe(_ request: Request.Describe) -> RunMetadata {
    .host(
      argv: request.argv, options: request.options, seed: request.seed, topology: topology,
      blas: .current(note: blas.summary))
  }

  /// Reads the tensors, plans, and allocates: all that is not timed.
  mutating func prepare(_ request: Request.Prepare) throws -> Prepared {
    work = nil
    let team = try staff(request)
    let file = try FileProblem(
      query: source(request.query), key: source(request.key), value: source(request.value))
    let problem = try AttentionProblem(
      file.shape, visibility: Visibility(causal: request.causal), storage: request.elements)
    let strategy = try StrategyRegistry.standard.strategy(request.strategy)
    let estimate = try strategy.work(for: problem, threads: team.threadCount)
    let plan = try strategy.plan(for: problem, on: team)
    let tensors = try file.tensors().stored(as: problem.storage)
    let output = try Tensor(file.shape.output, elementType: problem.storage.query)
    // Resident before the first call, and NaN until then.
    output.bytes.initializeMemory(as: UInt8.self, repeating: 0xFF)
    work = Work(
      plan: plan, tensors: tensors, output: output,
      operands: AttentionOperands(
        query: tensors.query.view, key: tensors.key.view, value: tensors.value.view,
        output: output.mutableView),
      rank: file.rank)
    return Prepared(
      strategy: strategy.name, parameters: strategy.resolvedParameters(for: problem),
      arithmetic: strategy.arithmetic, pairs: estimate.pairs,
      flops: estimate.flops, minimumBytes: estimate.minimumBytes,
      workspaceBytes: plan.workspaceBytes,
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
    let output = try Tensor(copying: work.output.view)
    let shape = output.shape
    let sizes = [shape.batch, shape.heads, shape.rows, shape.columns].suffix(work.rank)
    let tensor = try HostTensor(shape: Array(sizes)) { elements in
      _ = elements.update(from: output.elements)
    }
    try NpyFile.write(tensor, to: request.path)
    return Done()
  }

  /// One burst of products on the team of the last `prepare`.
  mutating func peak(_ request: Request.Peak) throws -> Rate {
    let team = try staffed().team
    let peak = try peaks[request.arithmetic] ?? FMARate(arithmetic: request.arithmetic)
    peaks[request.arithmetic] = peak
    return Rate(perSecond: peak.burst(on: team))
  }

  /// How fast the team of the last `prepare` reads memory beyond the caches.
  mutating func bandwidth() throws -> Rate {
    let staffed = try staffed()
    let bandwidth =
      try staffed.bandwidth
      ?? ReadBandwidth(beyondCachesOf: topology, writtenBy: staffed.team)
    crew?.bandwidth = bandwidth
    return Rate(perSecond: bandwidth.rate(on: staffed.team))
  }

  private func staffed() throws -> Crew { try asked(crew) }

  private func prepared() throws -> Work { try asked(work) }

  private func asked<Value>(_ value: Value?) throws -> Value {
    guard let value else {
      throw RequestError(description: "nothing is prepared; ask prepare first")
    }
    return value
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
