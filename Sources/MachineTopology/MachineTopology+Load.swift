import CHwloc

extension MachineTopology {
  private static let hostResult: Result<MachineTopology, TopologyError> = {
    () -> Result<MachineTopology, TopologyError> in
    do throws(TopologyError) {
      return .success(try MachineTopology())
    } catch {
      return .failure(error)
    }
  }()

  /// The topology of this machine, read at the first call and kept.
  ///
  /// Prefer it to ``init()``: a thread that a team has bound, and every thread that such a thread
  /// starts, would find only its own cores allowed.
  ///
  /// - Throws: ``TopologyError/system(call:_:)`` if hwloc cannot read the machine.
  public static func host() throws(TopologyError) -> MachineTopology {
    try hostResult.get()
  }

  /// Reads this machine now.
  ///
  /// - Throws: ``TopologyError/system(call:_:)`` if hwloc cannot read the machine.
  public init() throws(TopologyError) {
    try self.init(HwlocTopology())
  }

  /// A made-up machine, for tests of how bindings resolve.
  ///
  /// - Parameters:
  ///   - synthetic: hwloc's notation, e.g. `pack:2 [numa] l3:1 core:4 pu:2`.
  ///   - allowed: what the made-up process may use; all by default.
  /// - Throws: ``TopologyError/system(call:_:)`` if hwloc cannot read the notation.
  package init(synthetic: String, allowed: CPUSet? = nil) throws(TopologyError) {
    try self.init(HwlocTopology(synthetic: synthetic), restrictedTo: allowed)
  }

  private init(
    _ hwloc: HwlocTopology, restrictedTo restriction: CPUSet? = nil
  ) throws(TopologyError) {
    let online = CPUSet(hwloc_topology_get_topology_cpuset(hwloc.pointer))
    let permitted = CPUSet(hwloc_topology_get_allowed_cpuset(hwloc.pointer))
    let affinity = try hwloc.currentThreadBinding()

    self.hwloc = hwloc
    processingUnits = online
    allowed = permitted.intersection(affinity).intersection(restriction ?? online)
    packages = hwloc.objects(of: HWLOC_OBJ_PACKAGE).map { object in
      Package(
        index: Int(object.logical_index), model: Self.info("CPUModel", of: object),
        cpuSet: CPUSet(object.cpuset))
    }
    let cores = hwloc.objects(of: HWLOC_OBJ_CORE)
    // Some virtual machines show PUs but no cores: then each PU counts as one.
    self.cores = (cores.isEmpty ? hwloc.objects(of: HWLOC_OBJ_PU) : cores).map { object in
      Core(index: Int(object.logical_index), cpuSet: CPUSet(object.cpuset))
    }
    numaNodes = hwloc.objects(of: HWLOC_OBJ_NUMANODE).map { object in
      NUMANode(index: Int(object.os_index), cpuSet: CPUSet(object.cpuset))
    }.filter { !$0.cpuSet.isEmpty }
    caches = [
      HWLOC_OBJ_L1CACHE, HWLOC_OBJ_L2CACHE, HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L4CACHE,
      HWLOC_OBJ_L5CACHE,
    ].flatMap { hwloc.objects(of: $0) }.map { object in
      let cache = object.attr.pointee.cache
      return Cache(
        level: Int(cache.depth), byteCount: Int(clamping: cache.size),
        lineByteCount: cache.linesize > 0 ? Int(cache.linesize) : nil,
        cpuSet: CPUSet(object.cpuset))
    }
  }

  private static func info(_ name: String, of object: hwloc_obj) -> String? {
    UnsafeBufferPointer(start: object.infos, count: Int(object.infos_count))
      .first { String(cString: $0.name) == name }
      .map { String(cString: $0.value) }
  }
}
