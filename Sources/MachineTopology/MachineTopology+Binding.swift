extension MachineTopology {
  /// The PUs on which each worker of a team may run.
  ///
  /// - Parameters:
  ///   - binding: `core` and `pu` bindings give worker i the i-th listed place, and may list more
  ///     places than there are workers. A `numa` binding gives every worker all PUs of all listed
  ///     nodes. Only allowed PUs are given.
  ///   - workers: the size of the team. With `numa` and `none` it may exceed the number of PUs.
  /// - Returns: one set a worker; nil means that the worker is not bound.
  /// - Throws: ``TopologyError/invalidThreadCount(_:allowed:)``, or
  ///   ``TopologyError/unavailable(binding:level:indices:exists:allowed:)`` if *any* listed place is
  ///   missing or forbidden, or
  ///   ``TopologyError/tooFewPlaces(binding:level:places:workers:allowed:)``, or
  ///   ``TopologyError/malformedBinding(text:reason:)`` if the list is empty or repeats itself.
  public func cpuSets(
    for binding: ThreadBinding, workers: Int
  ) throws(TopologyError) -> [CPUSet?] {
    guard 1...WorkerTeam.maximumThreadCount ~= workers else {
      throw .invalidThreadCount(workers, allowed: allowedPlaces)
    }
    switch binding {
    case .none:
      return Array(repeating: nil, count: workers)
    case .cores(let indices):
      return try onePlaceEach(workers, binding, .core, indices)
    case .processingUnits(let indices):
      return try onePlaceEach(workers, binding, .processingUnit, indices)
    case .numaNodes(let indices):
      let nodes = try places(binding, .numaNode, indices)
      return Array(repeating: nodes.reduce(CPUSet()) { $0.union($1) }, count: workers)
    }
  }

  /// The binding that a team can have.
  ///
  /// - Parameter bestEffort: take no binding at all in place of one that names places which are
  ///   missing, forbidden or too few. One that held for some workers only would crowd the others.
  /// - Returns: a binding that `cpuSets` takes, and why it is not the one asked for.
  /// - Throws: what ``cpuSets(for:workers:)`` throws, where nothing else can be taken.
  public func usableBinding(
    _ asked: ThreadBinding, workers: Int, bestEffort: Bool
  ) throws(TopologyError) -> (binding: ThreadBinding, refusal: TopologyError?) {
    do {
      _ = try cpuSets(for: asked, workers: workers)
      return (asked, nil)
    } catch {
      switch error {
      case .unavailable where bestEffort, .tooFewPlaces where bestEffort: return (.none, error)
      default: throw error
      }
    }
  }

  /// The PUs on which one worker may run: element `worker` of ``cpuSets(for:workers:)``.
  ///
  /// - Precondition: `0 <= worker < workers`.
  public func cpuSet(
    for binding: ThreadBinding, worker: Int, of workers: Int
  ) throws(TopologyError) -> CPUSet? {
    try cpuSets(for: binding, workers: workers)[worker]
  }

  private func onePlaceEach(
    _ workers: Int, _ binding: ThreadBinding, _ level: TopologyLevel, _ indices: [Int]
  ) throws(TopologyError) -> [CPUSet?] {
    let sets = try places(binding, level, indices)
    guard sets.count >= workers else {
      throw .tooFewPlaces(
        binding: binding, level: level, places: sets.count, workers: workers,
        allowed: allowedPlaces)
    }
    return Array(sets.prefix(workers))
  }

  /// The allowed PUs of each listed place.
  private func places(
    _ binding: ThreadBinding, _ level: TopologyLevel, _ indices: [Int]
  ) throws(TopologyError) -> [CPUSet] {
    guard !indices.isEmpty, Set(indices).count == indices.count else {
      throw .malformedBinding(
        text: binding.description,
        reason: indices.isEmpty ? "the list of numbers is empty" : "a number is listed twice")
    }
    func unavailable(_ places: [Int], exists: Bool) -> TopologyError {
      .unavailable(
        binding: binding, level: level, indices: places, exists: exists, allowed: allowedPlaces)
    }
    let wholes = indices.map { self.place(level, $0) }
    let missing = zip(indices, wholes).filter { $1 == nil }.map(\.0)
    guard missing.isEmpty else { throw unavailable(missing, exists: false) }

    let sets = wholes.map { ($0 ?? CPUSet()).intersection(allowed) }
    let forbidden = zip(indices, sets).filter { $1.isEmpty }.map(\.0)
    guard forbidden.isEmpty else { throw unavailable(forbidden, exists: true) }
    return sets
  }

  /// All PUs of one place, allowed or not; nil if the machine has no such place.
  private func place(_ level: TopologyLevel, _ index: Int) -> CPUSet? {
    switch level {
    case .core: cores.first { $0.index == index }?.cpuSet
    case .processingUnit: processingUnits.contains(index) ? CPUSet([index]) : nil
    case .numaNode: numaNodes.first { $0.index == index }?.cpuSet
    }
  }
}
